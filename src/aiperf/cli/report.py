"""`aiperf report`: the tables of campaigns again, from what lies in their folders."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from aiperf.cli import output
from aiperf.config.terminal import terminal
from aiperf.errors import ConfigError
from aiperf.report import table
from aiperf.store.campaign import Campaign, latest
from aiperf.store.summary import JSON_NAME, read_named


def main(words: Sequence[str], flags: Mapping[str, str]) -> int:
    """Print what a run printed at its end, for each folder: a campaign, a trial, or `outputs/NAME`, which means its latest campaign.

    With `--from`, repeat the stages from there on first. Raises ConfigError for folders that are none of these, of a newer
    schema, or without what a stage needs, before anything is printed.
    """
    if not words:
        raise ConfigError("report: give a campaign's folder, as in aiperf report outputs/quickstart")
    campaigns = [latest(Path(word), "report") for word in words]
    if since := flags.get("--from"):
        try:
            from aiperf.app.repeat import again  # noqa: PLC0415 - to show what is there needs no stage

            if gone := [line for campaign in campaigns for line in _lacking(campaign)]:
                raise ConfigError([f"{line}: nothing of it can be computed again" for line in gone])
            return max(again(campaign, since, output.say).code for campaign in campaigns)
        except KeyboardInterrupt as exc:
            raise KeyboardInterrupt(*exc.args or ["report: stopped before it began; what was there is as it was"]) from exc
    output.say("\n\n".join(text for word, campaign in zip(words, campaigns) for text in _told(Path(word), campaign)))
    lines = [line for campaign in campaigns for line in _lacking(campaign)]
    for line in lines:
        print(f"aiperf: {line}: what was written is shown, nothing of it can be computed again", file=sys.stderr)
    return ConfigError.exit_code if lines else 0


def _lacking(campaign: Campaign) -> Iterator[str]:
    """A line a package of whose plugins the campaign was measured with some that are not here any more."""
    brought = campaign.receipt().get("plugins")
    if not brought:
        return
    from aiperf.plugin import registry  # noqa: PLC0415 - only for campaigns that need what others bring

    current = registry.current()
    there = {(entry.category, entry.name, entry.package) for entry in current.every()}
    gone: dict[str, list[str]] = {}
    for key, said in brought.items():
        name, package = said["name"], said["package"]
        why = "does not have it any more" if package in current.packages else "is not installed here"
        if (said["category"], name, package) not in there:
            parts = gone.setdefault(f"{package} {said['version']}, which {why}", [])
            parts.append(key if key.endswith(f".{name}") else f"{key}={name}")
    for source, parts in gone.items():
        yield f"{campaign.folder}: {', '.join(parts)} came from {source}"


def _told(given: Path, campaign: Campaign) -> Iterator[str]:
    """Every trial of a campaign, or the one that is named."""
    colour, columns = terminal(sys.stdout)
    every = sorted((campaign.folder / "trials").iterdir()) or [campaign.trial]
    trials = [given] if given.parent.name == "trials" else every
    if missing := [trial for trial in trials if not (trial / JSON_NAME).is_file()]:
        why = campaign.receipt().get("error") or "the run ended, or still is, before its results"
        hint = "; its bytes are there: --from process makes the results of them" if any(campaign.spool.glob("*.spool")) else ""
        raise ConfigError([f"report: {trial} has no {JSON_NAME}: {why}{hint}" for trial in missing])
    for trial in trials:
        name, summary = read_named(trial / JSON_NAME)
        title = name if len(trials) == 1 else f"{name} {trial.name}"
        yield table.final(summary, title=title, folder=str(campaign.folder), colour=colour, columns=columns)
