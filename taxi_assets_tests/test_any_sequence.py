"""Any sequence of months that are good, bad or published anew, run in any ranges and resumed.

After each run, values, Dagster's records, statuses and check results are those of a run of each
month alone.
"""

import dagster as dg
import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from taxi_assets.errors import MonthError, OutageError
from taxi_assets.runs import months as loop
from taxi_assets_tests.toy import ASSETS, Toy, resume

MONTHS = [f"2023-0{number}" for number in range(1, 5)]
BAD, AWAY = MonthError("The month is bad."), OutageError("It is away.")

months = st.sampled_from(MONTHS)
spans = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(sorted)
places = st.tuples(st.sampled_from(ASSETS), months)


class Months(RuleBasedStateMachine):
    """A source whose months come and go, and a storage that follows it.

    Attributes:
        values: what is stored, as the rules of the toy graph have it.
        statuses: whether the last run over a month of an asset has made it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.home = dg.DagsterInstance.ephemeral()
        self.toy = Toy(self.home.__enter__())
        self.values: dict[tuple[str, str], int] = {}
        self.statuses: dict[tuple[str, str], str] = {}

    def teardown(self) -> None:
        self.home.__exit__(None, None, None)

    @rule(
        published=st.dictionaries(months, st.one_of(st.integers(1, 9), st.just(BAD))),
        span=spans,
        bad=st.none() | places,
        resumed=st.booleans(),
    )
    def publish_and_run(self, published, span, bad, resumed) -> None:
        """Months change at the source; one may fail on its way, and be made by a resumed run."""
        self.toy.source |= published
        chosen = MONTHS[span[0] : span[1] + 1]
        if bad:
            self.toy.fail_at(*bad, BAD)
        run = self.toy.run(f"{chosen[0]}:{chosen[-1]}")
        self.toy.before = lambda _asset, _month: None
        assert run.success == self.expect(chosen, bad)
        if resumed and not run.success:
            run = self.toy.run(f"{chosen[0]}:{chosen[-1]}", **resume(run))
            assert run.success == self.expect(chosen, None)

    @rule(span=spans, away=places)
    def run_through_an_outage(self, span, away) -> None:
        chosen = MONTHS[span[0] : span[1] + 1]
        self.toy.fail_at(*away, AWAY, times=1)
        run = self.toy.run(f"{chosen[0]}:{chosen[-1]}")
        assert run.success == self.expect(chosen, None)

    def expect(self, chosen: list[str], bad: tuple[str, str] | None) -> bool:
        """Follow a run by the definition of the graph; return whether all months are made."""
        complete = True
        for month in chosen:
            reached = True
            for asset in ASSETS:
                failing = asset == "numbers" and self.toy.source[month] is BAD
                reached = reached and not failing and (asset, month) != bad
                self.statuses[asset, month] = "MATERIALIZED" if reached else "FAILED"
                if reached:
                    self.values[asset, month] = self.value(asset, month)
            complete = complete and reached
        return complete

    def value(self, asset: str, month: str) -> int:
        if asset == "numbers":
            return self.toy.source[month]
        if asset == "doubled":
            return 2 * self.values["numbers", month]
        before = MONTHS[MONTHS.index(month) - 1] if month != MONTHS[0] else ""
        return self.values.get(("totals", before), 0) + self.values["doubled", month]

    @invariant()
    def values_are_those_of_what_was_published_when_the_month_was_made(self) -> None:
        assert self.toy.memory.values == self.values

    @invariant()
    def dagster_knows_each_month_as_it_is(self) -> None:
        found = {
            (asset, month): status
            for asset in ASSETS
            for month, status in self.toy.statuses(asset).items()
        }
        assert found == self.statuses
        checks = self.toy.check_states()
        for (asset, month), value in self.values.items():
            if asset == "numbers":
                made = self.toy.records(asset, month)[0].asset_materialization
                assert made.metadata["summary"].value == str(value)
                assert made.tags["dagster/data_version"] == str(value)
                judged = self.statuses[asset, month] == "MATERIALIZED"
                state = ("SUCCEEDED", True) if judged else ("PLANNED", False)
                assert {checks[check, month] for check in ("is_positive", "is_small")} == {state}


def test_values_and_records_agree_after_any_sequence_of_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "WAITS", (0, 0))
    run_state_machine_as_test(
        Months,
        settings=hypothesis_settings(
            max_examples=4,
            stateful_step_count=5,
            deadline=None,
            derandomize=True,
            # A sequence that fails is short enough to be read.
            phases=[Phase.generate],
        ),
    )
