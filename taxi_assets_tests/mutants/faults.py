"""Small faults, one at a time, as a tired person makes them: most of them Cosmic Ray's."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators import (
    binary_operator_replacement,
    boolean_replacer,
    break_continue,
    comparison_operator_replacement,
    unary_operator_replacement,
)
from cosmic_ray.operators.number_replacer import NumberReplacer
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.zero_iteration_for_loop import ZeroIterationForLoop
from parso.python.tree import Name, Number
from parso.tree import NodeOrLeaf

PACKAGE = Path(__file__).parents[2] / "taxi_assets"


class NumberNudge(NumberReplacer):
    """A little more, and a little less: by one, fractions and large numbers by a tenth."""

    def mutate(self, node: Number, index: int) -> Number:
        value = ast.literal_eval(node.value)
        step = value / 10 if value and (isinstance(value, float) or value > 100) else 1
        nudged = type(value)(value - step if index else value + step)
        return Number(str(nudged), node.start_pos, node.prefix)


class StepRemoval(Operator):
    """Leaves out a call whose result nobody takes, an error, or what adds to a variable."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[tuple[object, object]]:
        if node.type == "simple_stmt":
            statement = node.children[0]
            is_call = statement.type == "atom_expr" and statement.children[-1].type == "trailer"
            adds = statement.type == "expr_stmt" and statement.children[1].type == "operator"
            if is_call or statement.type == "raise_stmt" or (adds and statement.children[1] != "="):
                yield statement.start_pos, statement.end_pos

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:
        statement = node.children[0]
        prefix = statement.get_first_leaf().prefix
        node.children[0] = Name("pass", statement.start_pos, prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class ErrorThrough(Operator):
    """Catches nothing where something is to be caught."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[tuple[object, object]]:
        if node.type == "except_clause":
            yield node.children[1].start_pos, node.children[1].end_pos

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:
        node.children[1] = Name("()", node.children[1].start_pos, " ")
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


def replacements(module: object, kind: str, pairs: str) -> list[type[Operator]]:
    """Cosmic Ray's operators that put one sign in the place of another."""
    return [getattr(module, f"Replace{kind}Operator_{pair}") for pair in pairs.split()]


OPERATORS = [
    NumberNudge,
    StepRemoval,
    ZeroIterationForLoop,
    ErrorThrough,
    boolean_replacer.AddNot,
    boolean_replacer.ReplaceTrueWithFalse,
    boolean_replacer.ReplaceFalseWithTrue,
    boolean_replacer.ReplaceAndWithOr,
    boolean_replacer.ReplaceOrWithAnd,
    break_continue.ReplaceBreakWithContinue,
    break_continue.ReplaceContinueWithBreak,
    *replacements(
        comparison_operator_replacement,
        "Comparison",
        "Lt_LtE LtE_Lt Gt_GtE GtE_Gt Eq_NotEq NotEq_Eq Is_IsNot IsNot_Is",
    ),
    *replacements(
        binary_operator_replacement,
        "Binary",
        "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_Mul Pow_Mul BitOr_BitAnd BitAnd_BitOr",
    ),
    *replacements(unary_operator_replacement, "Unary", "Delete_USub Delete_Not Delete_Invert"),
]


@dataclass(frozen=True)
class Mutant:
    """A module with one fault.

    Attributes:
        module: its file, from the package's folder on.
        code: the module's whole text, with the fault.
        line: number of the first line that differs.
        was: that line, without indentation.
        now: the line in its place.
    """

    module: str
    code: str
    line: int
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.was}  ->  {self.now}"


def mutants(module: str) -> Iterator[Mutant]:
    """Every fault that the operators make in a module."""
    source = (PACKAGE / module).read_text()
    statements = [statement.get_code() for statement in get_ast(source).children]
    for number, statement in enumerate(statements):
        for mutated in mutations(statement):
            code = "".join([*statements[:number], mutated, *statements[number + 1 :]])
            lines = zip_longest(source.splitlines(), code.splitlines(), fillvalue="")
            line, was, now = next((n, a, b) for n, (a, b) in enumerate(lines, 1) if a != b)
            yield Mutant(module, code, line, was.strip(), now.strip())


def mutations(statement: str) -> Iterator[str]:
    """Every fault in a statement of a module, such as a function, but for those in annotations."""
    seen = {None, meaning(statement)}
    nodes = list(ast_nodes(get_ast(statement)))
    for operator in OPERATORS:
        found = sum(len(list(operator().mutation_positions(node))) for node in nodes)
        for occurrence in range(found):
            mutated = mutate_code(statement, operator(), occurrence)
            if (meant := meaning(mutated)) not in seen:
                seen.add(meant)
                yield mutated


def meaning(code: str) -> str | None:
    """What code does: its syntax tree without annotations; None if it has none."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        for annotation in {"annotation", "returns"} & set(node._fields):
            setattr(node, annotation, None)
    return ast.dump(tree)
