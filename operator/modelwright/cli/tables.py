"""A report as tables for a terminal."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

STATUS_STYLES = {"ok": "green", "rejected": "yellow", "failed": "red", "skipped": "dim"}
SIZE_UNITS = ("B", "KiB", "MiB", "GiB")


def show_report(data: bytes, console: Console) -> None:
    """Print before and after, then the candidates.

    Raises:
        ValueError: Not JSON.
        KeyError: JSON, but no report.
    """
    report: dict[str, Any] = json.loads(data)
    summary = report["summary"]
    console.print(_headline(report))
    console.print(_before_and_after(report))
    if summary.get("quality"):
        console.print(_quality(summary["quality"]))
    console.print(_candidates(report))
    for technique, why in sorted(report["skipped"].items()):
        console.print(Text(f"{technique} skipped: {why}", style="dim"))
    if report["stopped"]:
        console.print(Text(f"stopped early: {report['stopped']}", style="yellow"))


def _headline(report: dict[str, Any]) -> Text:
    summary = report["summary"]
    text = Text.assemble(
        (report["outcome"], "bold"),
        f"  {report['model']['name']}: {summary['winner']}, {summary['speedup']:.2f}x"
        f" [{summary['speedupLow']:.2f}, {summary['speedupHigh']:.2f}], A/A {summary['aaRatio']:.3f}",
    )
    if not summary["reliable"]:
        text.append(" (too noisy to compare)", style="yellow")
    if report["note"]:
        text.append(f"\n{report['note']}", style="dim")
    return text


def _before_and_after(report: dict[str, Any]) -> Table:
    before, after = report["summary"]["before"], report["summary"]["after"]
    table = Table("", "before", "after", title=None)
    for name, key in (("latency p50", "latencyP50Us"), ("latency p99", "latencyP99Us"), ("CPU a call", "cpuUs")):
        table.add_row(name, f"{before[key]:.1f} us", f"{after[key]:.1f} us")
    table.add_row("size", _size(before["sizeBytes"]), _size(after["sizeBytes"]))
    pairs = zip(report["baseline"]["timings"], report["winner"]["timings"], strict=True)
    for old, new in pairs:
        table.add_row(f"CPU, batch {old['batch']}", f"{old['cpuUs']:.1f} us", f"{new['cpuUs']:.1f} us")
    return table


def _quality(quality: dict[str, Any]) -> Text:
    return Text(
        f"{quality['metric']} {quality['baseline']:.4f} -> {quality['optimized']:.4f}: {quality['change']:+.2%}"
        f" [{quality['lower']:+.2%}, {quality['upper']:+.2%}] on {quality['rows']} rows: {quality['verdict']}"
    )


def _candidates(report: dict[str, Any]) -> Table:
    table = Table("candidate", "status", "speed-up", "quality", "size", "why not")
    winner = report["summary"]["winner"]
    for trial in report["candidates"]:
        status = "winner" if trial["id"] == winner else trial["status"]
        speed = f"{trial['timings'][0]['ratio']:.2f}x" if trial["timings"] else ""
        judged = trial.get("confirmed") or trial.get("quality")
        change = f"{judged['change']:+.2%}" if judged else ("lossless" if not trial["lossy"] else "")
        why = trial["why"] or ("" if status == "winner" else "slower than the winner")
        style = STATUS_STYLES.get(status, "bold green")
        table.add_row(trial["id"], Text(status, style=style), speed, change, _size(trial["sizeBytes"]), why)
    return table


def _size(count: float) -> str:
    for unit in SIZE_UNITS:
        if count < 1024 or unit == SIZE_UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return ""
