"""What a preparation came to: failures, rates, and numbers about what was found."""

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

from egodtm_robot.core.storage.atomic_files import write_atomically
from pretrain.clips.sources.base import Failure
from pretrain.preparation.assembly import read_assembled
from pretrain.preparation.plan import Plan
from pretrain.preparation.stage_files import read_record, stage_path
from pretrain.preparation.stage_numbers import add_up

REPORT_FILE = "report.json"
FAILURES_FILE = "failures.csv"


def make_report(plan: Plan, out: Path, stages: tuple[str, ...]) -> dict[str, Any]:
    """Write ``report.json`` and ``failures.csv`` from what lies on the disk.

    Args:
        plan: what was to be prepared.
        out: folder of the clip store.
        stages: that enter the store.

    Returns:
        The content of ``report.json``; clips in = clips out + failures.
    """
    failures = list(plan.failures)
    clips_out = 0
    by_stage: dict[str, dict[str, Any]] = {}
    for stage in stages:
        seconds, cpu_seconds, clips = 0.0, 0.0, 0
        parts: list[dict[str, Any]] = []
        names: set[str] = set()
        for shard in plan.shards:
            record = read_record(stage_path(plan.folder, stage, shard.number))
            if record is None:
                continue
            names.add(record.name)
            seconds += record.seconds
            cpu_seconds += record.cpu_seconds
            clips += len(record.keys) + len(record.failures)
            parts.append({"clips": len(record.keys), **record.statistics})
            failures += [Failure(key, stage, text) for key, text in record.failures.items()]
        by_stage[stage] = {
            "annotator": ", ".join(sorted(names)),
            "clips_in": clips,
            "failures": sum(one.stage == stage for one in failures),
            "worker_seconds": round(seconds, 3),
            "cpu_seconds": round(cpu_seconds, 3),
            "clips_per_worker_second": _rate(clips, seconds),
            "clips_per_cpu_second": _rate(clips, cpu_seconds),
            **add_up(parts),
        }
    for shard in plan.shards:
        assembled = read_assembled(out, shard.number)
        if assembled is not None:
            clips_out += assembled.clips
            failures += [Failure(key, "assemble", why) for key, why in assembled.failures.items()]
    report: dict[str, Any] = {
        "schema_version": 1,
        "clips_in": plan.clips + len(plan.failures),
        "clips_out": clips_out,
        "failures": len(failures),
        "failures_by_stage": dict(Counter(one.stage for one in failures)),
        "stages": by_stage,
        **_headlines(by_stage),
    }
    write_atomically(
        plan.folder / REPORT_FILE, (json.dumps(report, indent=2, allow_nan=False) + "\n").encode()
    )
    write_atomically(plan.folder / FAILURES_FILE, _table(failures).encode())
    return report


def describe(report: dict[str, Any]) -> str:
    """The report as a few lines for people."""
    lines = [
        f"{report['clips_in']} clips in, {report['clips_out']} out, {report['failures']} failures"
        + _in_brackets(report["failures_by_stage"])
    ]
    for stage, numbers in report["stages"].items():
        rate, on_core = numbers["clips_per_worker_second"], numbers["clips_per_cpu_second"]
        rates = f"{rate:.1f} clips/s a worker, {on_core:.1f} a core" if rate and on_core else ""
        lines.append(f"  {stage:<13} {numbers['annotator']:<18} {rates}".rstrip())
    cut = report["stages"].get("decode", {}).get("cut_to_the_video")
    if cut:
        lines.append(f"  {cut} clips reached beyond their video and were cut to it")
    if "hand_detections_per_clip" in report:
        lines.append(
            f"  {report['hand_detections_per_clip']:.2f} hand detections a clip; "
            f"{report['clips_with_hand']:.0%} of the clips have one"
        )
    if "depth_coverage" in report:
        lines.append(f"  depth known on {report['depth_coverage']:.0%} of the pixels")
    if "caption_fallback_rate" in report:
        lines.append(
            f"  captions: {_plain(report['stages']['captions']['writers'])}; "
            f"{report['caption_fallback_rate']:.1%} fell back to the template"
            f"{_in_brackets(report['stages']['captions']['fallbacks'])}; "
            f"{report['captions_enriched']:.0%} with two statements or more"
        )
        problems = report["stages"]["captions"]["problems"]
        if problems:
            lines.append(f"  {problems} narrations could not be read: see caption_report.problem")
    return "\n".join(lines)


def _rate(clips: int, seconds: float) -> float | None:
    return round(clips / seconds, 3) if seconds else None


def _headlines(by_stage: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Numbers a clip."""
    found: dict[str, Any] = {}
    hands, captions = by_stage.get("hands_objects"), by_stage.get("captions")
    depth = by_stage.get("depth")
    if hands and hands["clips"]:
        found["hand_detections_per_clip"] = round(hands["hands"] / hands["clips"], 4)
        found["clips_with_hand"] = round(hands["with_hand"] / hands["clips"], 4)
        found["object_detections_per_clip"] = round(hands["objects"] / hands["clips"], 4)
    if depth and depth["clips"]:
        found["depth_coverage"] = round(depth["known"] / depth["clips"], 4)
    if captions and captions["clips"]:
        fallbacks = sum(captions["fallbacks"].values())
        found["caption_fallback_rate"] = round(fallbacks / captions["clips"], 4)
        found["captions_enriched"] = round(captions["enriched"] / captions["clips"], 4)
        found["statements_per_clip"] = round(captions["statements"] / captions["clips"], 4)
    return found


def _table(failures: list[Failure]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["key", "stage", "reason"])
    writer.writerows([one.key, one.stage, " ".join(one.reason.split())] for one in failures)
    return text.getvalue()


def _plain(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _in_brackets(counts: dict[str, int]) -> str:
    return f" ({_plain(counts)})" if counts else ""
