"""EgoNLQ's task on the real annotations with made features: time, memory, and known answers.

    python benchmarks/language_queries.py nlq_val.json [--queries 600]

Every clip gets a random feature for every two seconds. For ``planted`` the steps of an answer are
like the embedding of its question, for ``random`` they are not: the first has to be found, and the
second must not be better than chance.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from pretrain.clips.sources.base import ClipRequest
from pretrain.clips.sources.language_queries import (
    Ego4DWindowsSource,
    read_language_queries,
)
from pretrain.evaluate.language_queries import LanguageQueries
from pretrain.evaluate.task import Record

WIDTH = 64


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--queries", type=int, help="the first of them; by default all")
    parser.add_argument("--export", type=Path, help="folder to write VSLNet's layout to")
    arguments = parser.parse_args()
    for planted in (False, True):
        began = time.perf_counter()
        task = LanguageQueries(export=str(arguments.export) if arguments.export else None)
        records = _records(arguments.annotations, arguments.queries, planted)
        scores = task.score(records)
        print(f"{'planted' if planted else 'random'}: {time.perf_counter() - began:.0f} s")
        for name, one in scores.numbers.items():
            level = scores.facts.get(f"chance/{name.split('/')[1]}", float("nan"))
            low, high = one.interval
            print(f"  {name:24}{one.value:.3f}  {low:.3f} to {high:.3f}  chance {level:.3f}")
        print(f"  {scores.facts['queries']} queries, {scores.facts['videos']} clips")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def _records(annotations: Path, most: int | None, planted: bool) -> list[Record]:
    generator = np.random.default_rng(0)
    queries = read_language_queries(annotations)[:most]
    texts = generator.normal(size=(len(queries), WIDTH)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    asked: dict[str, list[int]] = {}
    for number, query in enumerate(queries):
        asked.setdefault(query.clip_uid, []).append(number)
    records: list[Record] = []
    for request in Ego4DWindowsSource(str(annotations), "videos").read():
        if not isinstance(request, ClipRequest) or request.extra["clip_uid"] not in asked:
            continue
        first, last = request.extra["window_s"]
        feature = generator.normal(size=WIDTH).astype(np.float32)
        for number in asked[request.extra["clip_uid"]]:
            query = queries[number]
            if planted and query.start_s < last and query.end_s > first:
                feature += 8 * texts[number]
        records.append(
            {
                "kind": "window",
                "video": request.scene,
                "sequence": request.extra["clip_uid"],
                "features": feature[None],
                "centers": np.array([(first + last) / 2]),
                "duration_s": request.extra["clip_length_s"],
                "training": False,
            }
        )
    records += [
        {
            "item": number,
            "kind": "query",
            "video": query.video_uid,
            "sequence": query.clip_uid,
            "features": text[None],
            "answer": np.array([query.start_s, query.end_s]),
            "text": query.text,
            "annotation_uid": query.annotation_uid,
            "query_idx": query.query_idx,
            "left_out": 0,
            "training": False,
        }
        for number, (query, text) in enumerate(zip(queries, texts, strict=True))
    ]
    return records


if __name__ == "__main__":
    _main()
