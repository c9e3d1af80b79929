"""TLC's taxi zones. Source: TLC's table of taxi zones."""

LAST_ZONE = 265
"""TLC numbers its zones from 1 to 265; the last two are unknown and outside New York."""

AIRPORTS = frozenset({1, 132, 138})
"""Newark, John F. Kennedy, LaGuardia."""

MANHATTAN = frozenset(
    {
        *(4, 12, 13, 24, 41, 42, 43, 45, 48, 50, 68, 74, 75, 79, 87, 88, 90, 100, 103, 104, 105),
        *(107, 113, 114, 116, 120, 125, 127, 128, 137, 140, 141, 142, 143, 144, 148, 151, 152),
        *(153, 158, 161, 162, 163, 164, 166, 170, 186, 194, 202, 209, 211, 224, 229, 230, 231),
        *(232, 233, 234, 236, 237, 238, 239, 243, 244, 246, 249, 261, 262, 263),
    }
)
"""The zones of the borough of Manhattan."""
