"""Whether the readers of Minari, robomimic and Zarr v2 read what ``convert`` writes.

    python benchmarks/format_readers.py PYTHON [STORE]

PYTHON is the interpreter of an environment with what is to be tried; what is not there is passed
over, and said so:

    python3 -m venv other && other/bin/pip install minari[hdf5] "zarr<3"
    other/bin/pip install --no-deps robomimic && other/bin/pip install torch torchvision h5py

Without STORE a small one is made. Every array that a reader gives is compared with the store's.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from egodtm_robot.demos import DemonstrationStore
from egodtm_robot.demos.convert.contract import make_format
from egodtm_robot.demos.convert.exporting import export_demonstrations

sys.path.append(str(Path(__file__).parents[1] / "tests" / "fakes"))

READERS = {
    "minari": """
import sys, numpy as np, minari, pathlib
from minari.dataset.minari_dataset import MinariDataset
data = MinariDataset(pathlib.Path(sys.argv[1]) / "data")
episodes = list(data.iterate_episodes())
assert data.total_steps == sum(len(e.actions) for e in episodes)
assert all(len(e.observations["proprioception"]) == len(e.actions) + 1 for e in episodes)
for e in episodes:
    assert data.action_space.contains(e.actions[0]), e.actions[0]
    assert data.observation_space.contains({k: v[0] for k, v in e.observations.items()})
found = {"actions": np.concatenate([e.actions for e in episodes])}
for key in episodes[0].observations:
    found[key] = np.concatenate([e.observations[key][:-1] for e in episodes])
np.savez(sys.argv[2], **found)
print("minari", minari.__version__, data.spec.dataset_id, data.sample_episodes(1)[0].id >= 0)
""",
    "robomimic": """
import sys, numpy as np, h5py, robomimic
import robomimic.utils.obs_utils as obs
from robomimic.utils.dataset import SequenceDataset
with h5py.File(sys.argv[1]) as file:
    keys = list(file["data/demo_0/obs"])
images = [k for k in keys if k.endswith("_image")]
low = [k for k in keys if k not in images]
obs.initialize_obs_utils_with_obs_specs([{"obs": {"low_dim": low, "rgb": images}}])
data = SequenceDataset(
    hdf5_path=sys.argv[1], obs_keys=keys, dataset_keys=("actions", "rewards", "dones"),
    seq_length=1, frame_stack=1, load_next_obs=False, hdf5_cache_mode=None, hdf5_use_swmr=True)
rows = [data[i] for i in range(len(data))]
found = {"actions": np.stack([r["actions"][0] for r in rows])}
for key in keys:
    found[key.removesuffix("_image")] = np.stack([r["obs"][key][0] for r in rows])
np.savez(sys.argv[2], **found)
print("robomimic", robomimic.__version__, data.n_demos, "demonstrations", len(data), "sequences")
""",
    "diffusion_policy": """
import sys, numpy as np, zarr
assert zarr.__version__ < "3", zarr.__version__
root = zarr.open(sys.argv[1], "r")
assert "data" in root and "meta" in root and "episode_ends" in root["meta"]
ends = root["meta"]["episode_ends"][:]
for key, value in root["data"].items():  # as ReplayBuffer checks it
    assert value.shape[0] == ends[-1] and value.compressor is not None, key
np.savez(sys.argv[2], **{key: value[:] for key, value in root["data"].items()})
print("zarr", zarr.__version__, {k: (v.chunks, str(v.compressor)) for k, v in root["data"].items()})
""",
}

NAMES = {"state": "proprioception", "action": "actions", "env_state": "privileged"}
"""What the store calls columns that a format calls otherwise."""


def main() -> None:
    """Write the store in each format, and compare what its reader gives."""
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    python = sys.argv[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if len(sys.argv) > 2:
            store = DemonstrationStore.open(sys.argv[2])
        else:
            from fake_stores import make_store

            store = make_store(folder / "store", 3)
        arrays = {n.removeprefix("rgb/"): n for n in store.array_names}
        for kind, program in READERS.items():
            out = folder / kind
            export_demonstrations(make_format(kind), store.path, out, workers=0)
            npz = folder / f"{kind}.npz"
            done = subprocess.run(
                [python, "-c", program, str(out), str(npz)], capture_output=True, text=True
            )
            if done.returncode:
                lines = done.stderr.strip().splitlines()
                print(f"{kind}: not read ({lines[-1] if lines else 'no word'})")
                continue
            compared = []
            for key, values in np.load(npz).items():
                ours = arrays.get(NAMES.get(key, "privileged" if key == "object" else key))
                if ours is None:
                    continue
                mine = store.array(ours).read()
                if values.dtype != mine.dtype and ours.startswith("rgb/"):
                    values = np.rint(values).astype(np.uint8)
                assert np.array_equal(values.reshape(mine.shape), mine), key
                compared.append(ours)
            print(f"{kind}: {done.stdout.strip().splitlines()[-1]}; equal: {', '.join(compared)}")
    print(json.dumps({"steps": store.num_steps, "episodes": store.num_episodes}))


if __name__ == "__main__":
    main()
