"""Whether lerobot's own loader reads what ``convert format=lerobot`` writes, and the other way.

    python benchmarks/lerobot_loader.py PYTHON [STORE]

PYTHON is the interpreter of an environment that has lerobot (0.6 needs Python 3.12 or newer):

    python3.12 -m venv other && other/bin/pip install "lerobot[dataset]"

Without STORE two small stores are made: one with a simulator's states, and one as another toolkit
might have recorded it, with two tasks and cameras of different sizes. Each is written as MP4 and as
PNG, read by lerobot there, and compared with the store: numbers exactly, pictures with what our own
reader decodes. Then lerobot records a data set of its own, which is read here.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from egodtm_robot.demos import DemonstrationStore
from egodtm_robot.demos.convert.exporting import export_demonstrations
from egodtm_robot.demos.convert.importing import import_demonstrations
from egodtm_robot.demos.convert.lerobot import LeRobotFormat

sys.path.append(str(Path(__file__).parents[1] / "tests" / "fakes"))

READ = """
import json, sys
import numpy as np
import lerobot, torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
root, out, backend = sys.argv[1:]
data = LeRobotDataset("local/check", root=root, video_backend=backend)
items = [data[i] for i in range(len(data))]
arrays = {k: np.stack([np.asarray(i[k]) for i in items]) for k in items[0] if k != "task"}
np.savez(out, **arrays)
window = {k: [-1 / data.fps, 0.0, 1 / data.fps] for k in ("action", *data.meta.camera_keys)}
windows = LeRobotDataset("local/check", root=root, video_backend=backend, delta_timestamps=window)
batch = next(iter(torch.utils.data.DataLoader(windows, batch_size=8, shuffle=True)))
print(json.dumps({
    "version": lerobot.__version__, "fps": data.fps, "tasks": [i["task"] for i in items],
    "episodes": data.num_episodes, "frames": data.num_frames, "robot": data.meta.robot_type,
    "stats": sorted(data.meta.stats), "cameras": data.meta.camera_keys,
    "batch": {k: list(v.shape) for k, v in batch.items() if hasattr(v, "shape")},
}))
"""

RECORD = """
import sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
root, out = sys.argv[1:]
features = {
    "action": {"dtype": "float32", "shape": (3,), "names": ["x", "y", "grip"]},
    "observation.state": {"dtype": "float32", "shape": (4,), "names": None},
    "observation.images.top": {
        "dtype": "video", "shape": (64, 96, 3), "names": ["height", "width", "channels"]},
    "next.success": {"dtype": "bool", "shape": (1,), "names": None},
    "force": {"dtype": "float64", "shape": (2, 2), "names": None},
}
data = LeRobotDataset.create("local/check", 10, features=features, root=root, robot_type="so100")
generator = np.random.default_rng(0)
y, x = np.mgrid[:64, :96]
kept = []
for episode in range(3):
    for step in range(6 + episode):
        frame = {
            "action": generator.normal(size=3).astype(np.float32),
            "observation.state": generator.normal(size=4).astype(np.float32),
            "observation.images.top": np.stack([2 * x, 3 * y, x + y + step], -1).astype(np.uint8),
            "next.success": np.array([step == 5]), "force": generator.normal(size=(2, 2)),
        }
        kept.append(frame)
        data.add_frame({**frame, "task": ["pick", "place"][episode % 2]})
    data.save_episode()
data.finalize()
np.savez(out, **{k: np.stack([f[k] for f in kept]) for k in features})
"""


def run(python: str, program: str, *arguments: object) -> str:
    """Output of a program in the other environment."""
    done = subprocess.run(
        [python, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": tempfile.gettempdir()},
    )
    if done.returncode:
        raise SystemExit(f"the program failed:\n{done.stderr[-3000:]}")
    return done.stdout


def backends(python: str) -> list[str]:
    """Decoders of videos that the other environment can load; torchcodec needs FFmpeg there."""
    probe = [python, "-c", "import torchcodec.decoders"]
    there = subprocess.run(probe, capture_output=True, check=False).returncode == 0
    return ["pyav", "torchcodec"] if there else ["pyav"]


def check_written(python: str, store: DemonstrationStore, images: str, folder: Path) -> None:
    """Write a store, read it with lerobot, compare."""
    options = LeRobotFormat(images=images)  # type: ignore[arg-type]
    if store.attributes.control_dt is None:
        options.fps = 10.0
    out = folder / f"{store.path.name}_{images}"
    summary = export_demonstrations(options, store.path, out, workers=0)
    ours = import_demonstrations(options, out, folder / f"{out.name}_back", workers=0)
    for backend in backends(python) if images == "video" else ["pyav"]:
        told = json.loads(run(python, READ, out, folder / "read.npz", backend).splitlines()[-1])
        theirs = np.load(folder / "read.npz")
        assert told["episodes"] == store.num_episodes, told
        assert told["frames"] == store.num_steps, told
        for name, spec in json.loads((out / "meta/egodtm_robot.json").read_text())[
            "arrays"
        ].items():
            if spec["column"] is None:
                continue
            mine = ours.array(name).read()
            read = theirs[spec["column"]]
            if name.startswith("rgb/"):
                # lerobot gives images as (3, H, W) in [0, 1].
                read = np.rint(read.transpose(0, 2, 3, 1) * 255.0).astype(np.uint8)
                off = np.abs(read.astype(int) - mine.astype(int))
                print(
                    f"  {backend:10s} {name:12s} equal {np.mean(off == 0):.4f}, "
                    f"largest difference {off.max()}"
                )
                assert off.max() <= (0 if backend == "pyav" else 8), name
            else:
                mine = mine.astype(read.dtype)  # torch's tensors of float64 columns stay float64
                assert np.array_equal(read.reshape(mine.shape), mine), name
        origin = store.attributes.origin
        if origin is not None:
            wanted = [origin.tasks[i] for i in store.array("task_index").read()]
            assert told["tasks"] == wanted
    print(
        f"{out.name}: lerobot {told['version']} reads {told['episodes']} episodes of "
        f"{told['frames']} steps at {told['fps']} a second, cameras {told['cameras']}; numbers and "
        f"tasks exact; {summary}; a batch of windows: {told['batch']['action']}"
    )


def check_read(python: str, folder: Path) -> None:
    """Record with lerobot, read here, write again, and let lerobot read that."""
    data = folder / "recorded"
    run(python, RECORD, data, folder / "recorded.npz")
    given = np.load(folder / "recorded.npz")
    store = import_demonstrations(LeRobotFormat(), data, folder / "recorded_store", workers=0)
    assert np.array_equal(store.array("actions").read(), given["action"])
    assert np.array_equal(store.array("proprioception").read(), given["observation.state"])
    assert np.array_equal(store.array("extra/force").read(), given["force"])
    assert store.successes == [True, True, True]
    assert store.attributes.origin is not None
    assert store.attributes.origin.tasks == ("pick", "place")
    off = store.array("rgb/top").read().astype(int) - given["observation.images.top"].astype(int)
    print(f"recorded by lerobot, read here: numbers exact, images within {np.abs(off).max()}")
    check_written(python, store, "video", folder)


def main() -> None:
    """Check the store that is named, or two small ones."""
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    python = sys.argv[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if len(sys.argv) > 2:
            stores = [DemonstrationStore.open(sys.argv[2])]
        else:
            from fake_foreign_stores import make_foreign_store
            from fake_stores import make_store

            stores = [make_store(folder / "native", 3), make_foreign_store(folder / "foreign")]
        for store in stores:
            for images in ("video", "image"):
                check_written(python, store, images, folder)
        check_read(python, folder)


if __name__ == "__main__":
    main()
