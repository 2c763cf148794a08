"""Checks on a published dataset folder that must pass before training."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from phi_assets.conversations.grouping import SIDES
from phi_assets.conversations.rows import ContextOnly, Kind, Message, conversation_id
from phi_assets.outcome import CheckOutcome
from serving_code.chat_text import control_tokens

MINIMUM_BROKEN = 5
"""Minimum broken rows for a check of a single file: in a file of three rows, one error would be a third."""
_NAMED = 5
Numbers = dict[str, int | float | str]


def read_split(folder: Path, side: str) -> Iterator[dict[str, Any]]:
    """The rows of one split of a published folder. Raises ValueError with file and line for a line that isn't JSON."""
    path = folder / f"{side}.jsonl"
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError as e:
                raise ValueError(f"{path}, line {number}: {e}; publish the dataset again") from e


def read_pairs(folder: Path) -> Iterator[dict[str, Any]]:
    """The preference pairs of a published folder; none when it has no file of them. Raises ValueError as above."""
    return read_split(folder, "preferences") if (folder / "preferences.jsonl").is_file() else iter(())


def check_schema(folder: Path) -> CheckOutcome:
    """Check that every row has a valid id, a group, and messages in the order that training needs."""
    rows, faults = 0, []
    for side in SIDES:
        try:
            for number, row in enumerate(read_split(folder, side), start=1):
                rows += 1
                if fault := _fault(row):
                    faults.append(f"{side}.jsonl, line {number}: {fault}")
        except (OSError, ValueError) as e:
            faults.append(str(e))
    message = f"{len(faults)} faults; the first: {faults[0]}" if faults else f"all {rows} rows have the published shape"
    return CheckOutcome(not faults, message, {"rows": rows, "faults": len(faults)})


def _fault(row: Any) -> str:
    if not isinstance(row, dict) or set(row) != {"id", "group", "messages"}:
        return "not an object of id, group and messages"
    if not isinstance(row["group"], str) or not row["group"]:
        return "no group"
    messages = row["messages"]
    if not isinstance(messages, list) or not all(_is_message(message) for message in messages):
        return "messages are not objects of role and content with text"
    roles = [message["role"] for message in messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if not turns or turns != ["user", "assistant"] * (len(turns) // 2):
        return f"roles in the order {', '.join(roles) or 'of none'}"
    if not any(message["role"] == "assistant" and message.get("learn", True) for message in messages):
        return "no turn of the assistant is to be learned"
    return "" if row["id"] == _expected_id(row) else "the id is not that of the messages"


def _is_message(message: Any) -> bool:
    if isinstance(message, dict) and message.get("role") == "assistant" and message.get("learn") is False:
        message = {key: value for key, value in message.items() if key != "learn"}
    return (
        isinstance(message, dict)
        and set(message) == {"role", "content"}
        and isinstance(message["content"], str)
        and bool(message["content"].strip())
    )


def _expected_id(row: Mapping[str, Any]) -> str:
    turns = ((Message if each.get("learn", True) else ContextOnly, each) for each in row["messages"])
    return conversation_id(tuple(kind(each["role"], each["content"]) for kind, each in turns))


def check_leakage(folder: Path) -> CheckOutcome:
    """Check that no id and no near-duplicate group is in two splits, and no training pair asks what these hold out."""
    import numpy as np

    from phi_assets.conversations.pair_places import prompt_key, prompt_keys

    def shared(key: str) -> int:
        texts = [np.fromiter((hash(row[key]) for row in read_split(folder, side)), dtype=np.int64) for side in SIDES]
        _, counts = np.unique(np.concatenate([np.unique(each) for each in texts]), return_counts=True)
        return int((counts > 1).sum())

    ids, groups = shared("id"), shared("group")
    message = f"{ids} conversations and {groups} groups are in more than one split"
    learned = {prompt_key(pair["prompt"]) for pair in read_pairs(folder) if pair.get("split") == "train"}
    numbers: Numbers = {"ids": ids, "groups": groups}
    pairs = 0
    if learned:
        held = (row for side in ("validation", "test") for row in read_split(folder, side))
        turns = ([(each["role"], each["content"]) for each in row["messages"]] for row in held)
        pairs = len(learned & {key for conversation in turns for key in prompt_keys(conversation)})
        numbers["pairs"] = pairs
        message += f"; {pairs} prompts of training pairs are in validation or test"
    return CheckOutcome(not ids and not groups and not pairs, message, numbers)


def check_duplicates(folder: Path) -> CheckOutcome:
    """Check that no conversation occurs twice, ignoring letter case and white space."""
    import numpy as np

    every = (int(_expected_id(row), 16) for side in SIDES for row in read_split(folder, side))
    ids = np.fromiter(every, dtype=np.uint64)
    repeated = len(ids) - len(np.unique(ids))
    return CheckOutcome(not repeated, f"{repeated} of {len(ids)} rows repeat another", {"duplicates": repeated})


def check_minimum_rows(folder: Path, minimum: int) -> CheckOutcome:
    """Check that there are at least `minimum` conversations, and one for training."""
    counts = {side: sum(1 for _ in read_split(folder, side)) for side in SIDES}
    total = sum(counts.values())
    message = f"{total} conversations, {counts['train']} for training; at least {minimum} are needed"
    if total < minimum and (lost := _most_lost(folder)):
        message += f". {lost}"
    return CheckOutcome(total >= minimum and counts["train"] > 0, message, {**counts, "minimum": minimum})


def _most_lost(folder: Path, kinds: Collection[Kind] = ("broken", "unsupported", "duplicate", "policy")) -> str:
    """The reason for which most rows were dropped, with the detail of the first of them; empty when none was."""
    dropped: Counter[str] = Counter()
    details: dict[str, str] = {}
    with (folder / "quarantine.jsonl").open("rb") as file:
        for line in file:
            record = orjson.loads(line)
            if record["action"] == "dropped" and record["kind"] in kinds:
                dropped[record["reason"]] += 1
                details.setdefault(record["reason"], record["detail"])
    if not dropped:
        return ""
    ((reason, rows),) = dropped.most_common(1)
    return f"{rows} rows were dropped as {reason}{': ' + details[reason] if details[reason] else ''}"


def check_broken_share(folder: Path, maximum: float = 0.2) -> CheckOutcome:
    """Check that at most this share of the rows read is broken; duplicates and rows dropped by policy don't count.

    The limit also applies to each file with several broken rows: the valid rows of other files would otherwise hide a
    file of garbage.
    """
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    broken, read = manifest["kinds"]["broken"], manifest["rows_read"]
    share = broken / read if read else 0.0
    message = (
        f"{broken} of {read} rows read are broken ({share:.1%}); at most {maximum:.0%} may be. See quarantine.jsonl"
    )
    bad = [
        source
        for source in manifest.get("sources", [])
        if source["broken"] >= MINIMUM_BROKEN and source["broken"] / source["rows"] > maximum
    ]
    named = [f"{each['name']} in {each['feed']}: {each['broken']} of {each['rows']} rows are broken" for each in bad]
    if named:
        more = f" and {len(named) - _NAMED} more files" if len(named) > _NAMED else ""
        message = f"{'; '.join(named[:_NAMED])}{more}. Repair or remove these files. In all, {message}"
    if (named or share > maximum) and (lost := _most_lost(folder, ("broken",))):
        message += f". {lost}"
    numbers: Numbers = {"broken": broken, "rows_read": read, "share": share, "maximum": maximum, "bad_files": len(bad)}
    return CheckOutcome(share <= maximum and not bad, message, numbers)


def check_token_length(
    folder: Path,
    count_tokens: Callable[[list[dict[str, str]]], int],
    max_length: int,
    minimum_share: float = 0.95,
    limit: str = "the limit",
) -> CheckOutcome:
    """Check that this share of the conversations has at most `max_length` tokens; training truncates the others.

    `limit` says whose length that is.
    """
    lengths = {side: [count_tokens(row["messages"]) for row in read_split(folder, side)] for side in SIDES}
    every = [length for side in SIDES for length in lengths[side]]
    fitting = sum(length <= max_length for length in every)
    share = fitting / len(every) if every else 0.0
    passed = share >= minimum_share
    message = (
        f"{fitting} of {len(every)} conversations fit in {max_length} tokens, {limit} ({share:.1%}); "
        f"{minimum_share:.0%} must (PHI_MIN_FITTING_SHARE)"
    )
    if every and not passed:
        message += (
            f". With PHI_MAX_CONVERSATION_TOKENS={max_length}, PHI_LONG_CONVERSATIONS=split makes several of one, "
            "cut shortens it at a turn, drop leaves it out; or choose a PHI_PRESET with a larger max_length"
        )
    numbers: Numbers = {"share": share, "longest": max(every, default=0), "train_tokens": sum(lengths["train"])}
    return CheckOutcome(passed, message, {**numbers, "max_length": max_length})


def check_control_tokens(folder: Path, tokens: Sequence[str]) -> CheckOutcome:
    """Check that no content holds one of the base model's control tokens, which it would read as the end of a turn."""
    found: Counter[str] = Counter()
    rows = 0
    published = (row["messages"] for side in SIDES for row in read_split(folder, side))
    pairs = ([*pair["prompt"], *pair["chosen"], *pair["rejected"]] for pair in read_pairs(folder))
    for messages in itertools.chain(published, pairs):
        held = {token for token in tokens for message in messages if token in message["content"]}
        found.update(held)
        rows += bool(held)
    if not rows:
        return CheckOutcome(True, "no conversation holds a control token of the base model", {"rows": 0})
    names = [token for token, _ in found.most_common(_NAMED)]
    return CheckOutcome(
        False,
        f"{rows} conversations or preference pairs hold {', '.join(names)}, which the base model reads as control "
        "tokens; "
        f"PHI_TEMPLATE_TOKENS={','.join(names)} leaves them out",
        {"rows": rows},
    )


def fits(
    folder: Path, model: Path, max_length: int, minimum_share: float = 0.95, limit: str = "the limit"
) -> CheckOutcome:
    """`check_token_length` and `check_control_tokens` with the tokenizer and chat template of a model folder."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(model), local_files_only=True)

    def count_tokens(messages: list[dict[str, str]]) -> int:
        turns = [{"role": message["role"], "content": message["content"]} for message in messages]
        rendered = tokenizer.apply_chat_template(turns, tokenize=False)
        return len(tokenizer(rendered, add_special_tokens=False)["input_ids"])

    tokens = check_control_tokens(folder, control_tokens(tokenizer))
    length = check_token_length(folder, count_tokens, max_length, minimum_share, limit)
    return (
        length if tokens.passed else CheckOutcome(False, f"{tokens.description}. {length.description}", length.numbers)
    )


def examine(folder: Path, *, min_rows: int, max_broken_share: float) -> dict[str, CheckOutcome]:
    """Run every check that needs only the published files, and return the outcomes by check name.

    When the schema check fails, the other checks are not run and count as failed.
    """
    schema = check_schema(folder)
    if not schema.passed:
        undecided = CheckOutcome(False, "not checked: the files don't have the published shape")
        names = ("no_leakage_between_splits", "no_exact_duplicates", "minimum_rows", "few_broken_rows")
        return {"schema": schema, **dict.fromkeys(names, undecided)}
    return {
        "schema": schema,
        "no_leakage_between_splits": check_leakage(folder),
        "no_exact_duplicates": check_duplicates(folder),
        "minimum_rows": check_minimum_rows(folder, min_rows),
        "few_broken_rows": check_broken_share(folder, max_broken_share),
    }
