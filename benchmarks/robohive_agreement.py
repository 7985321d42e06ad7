"""Our scene of RoboHive's kitchen beside RoboHive itself, on one MuJoCo.

    python benchmarks/robohive_agreement.py [--tasks light,knob] [--episodes 10]
        [--pictures out.png]

Needs the package robohive and its assets (docs/guide/robohive.md). For each task three tables:

1. An expert's actions, closed loop in RoboHive from resets of our preset ``default``, are replayed
   open loop in our scene from the same state: largest differences on the way, and how often the
   episode succeeds in each. Recording ends at the sixth solved step, so that one solved step less
   is a failure: a sharp test. Once as RoboHive is, once without its write-back of clipped sensors,
   once without its kettle's armature as well.
2. The same for random actions at a quarter of the range, 50 steps from RoboHive's own resets.
3. How often the experts succeed in RoboHive under its own resets, on seeds from 950000.

``--pictures`` draws both at one state and tells how far the pictures are apart.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from envs.kitchen.scene import ARM_JOINTS, BASE_BODY
from envs.kitchen.tasks import SUCCESS_STEPS
from envs.robohive import RoboHiveKitchenEnv
from envs.robohive.native.env import RoboHiveFK1Env
from envs.robohive.native.expert import MirroredExpert
from envs.robohive.native.mirror import KitchenMirror
from envs.robohive.native.tasks import FK1_TASKS

FIRST_SEED = 950_000
TASKS = tuple(task.name for task in FK1_TASKS.values() if task.expert)
CASES = ("as it is", "no write-back", "no write-back, no kettle armature")
LONGEST = 120
RANDOM_STEPS = 50


@dataclass
class Pair:
    """RoboHive and our scene of it, doing one task side by side."""

    task: str
    native: RoboHiveFK1Env = field(init=False)
    ours: RoboHiveKitchenEnv = field(init=False)
    mirror: KitchenMirror = field(init=False)

    def __post_init__(self) -> None:
        self.native = RoboHiveFK1Env(self.task, cameras=(), horizon=LONGEST)
        self.ours = RoboHiveKitchenEnv(self.task, cameras=(), horizon=LONGEST)
        self.ours.reset(seed=0)
        self.mirror = KitchenMirror(self.native, self.ours)
        self._write_back = self.native.kitchen.robot.sensor2sim
        self._armature = self.native.model.dof_armature.copy()

    def mend(self, case: str) -> None:
        """Switch RoboHive's two habits off, or on again."""
        robot, model = self.native.kitchen.robot, self.native.model
        robot.sensor2sim = self._write_back
        model.dof_armature[:] = self._armature
        if case != CASES[0]:
            robot.sensor2sim = lambda sensor, sim: sim.forward()
        if case == CASES[2]:
            model.dof_armature[-6:] = 0.0

    def begin_at_ours(self, seed: int) -> None:
        """Both at a reset of our preset ``default``."""
        self.ours.reset(seed=seed)
        native, ours = self.native, self.ours
        native.reset(seed=seed)
        native.model.body("chef").pos[:] = ours.model.body(BASE_BODY).pos
        native.data.qpos[:9] = ours.data.qpos[ours.robot_qpos]
        native.data.ctrl[:] = ours.data.ctrl
        native.data.qvel[:] = 0.0
        kettle = native.model.joint("kettle0:Tx").qposadr[0]
        body, rest = native.model.body("kettle0").pos, np.asarray(ours.scene.kettle_rest)
        native.data.qpos[kettle : kettle + 3] = rest - body + [-0.269, 0.35, 1.61523]
        native.data.qpos[kettle + 3 : kettle + 6] = 0.0
        mujoco.mj_forward(native.model, native.data)
        self.mirror.update()

    def replay(self, actions: Iterator[np.ndarray]) -> dict[str, float]:
        """Both under the same actions: largest differences, and whether each succeeded."""
        native, ours = self.native, self.ours
        arm = [native.model.joint(name).qposadr[0] for name in ARM_JOINTS]
        goal = int(np.argmax(np.abs(ours._goal)))
        ours._solved_steps = 0
        apart = {"arm": 0.0, "target": 0.0, "kettle": 0.0}
        succeeded = {"native": False, "ours": False}
        for action in actions:
            succeeded["native"] |= native.step(action)[-1]["success"]
            succeeded["ours"] |= ours.step(action)[-1]["success"]
            joints = native._observed()["objs_jnt"][:9] - ours.data.qpos[ours.kitchen_qpos]
            kettle = native.data.body("kettle0").xpos - ours.data.body("kettle0").xpos
            for name, difference in (
                ("arm", native.data.qpos[arm] - ours.data.qpos[ours.robot_qpos[:7]]),
                ("target", joints[goal]),
                ("kettle", kettle),
            ):
                apart[name] = max(apart[name], float(np.abs(difference).max()))
        return {**apart, **succeeded}


def expert_actions(pair: Pair) -> Iterator[np.ndarray]:
    """The expert's, closed loop in RoboHive, up to the sixth solved step."""
    expert = MirroredExpert(pair.native)
    for _ in range(LONGEST):
        if pair.native._solved_steps > SUCCESS_STEPS:
            return
        action = expert.act()
        assert action is not None
        yield action


def measure(pair: Pair, begin: Callable[[int], None], random: bool, episodes: int) -> list[str]:
    """One row a case."""
    rows = []
    for case in CASES:
        pair.mend(case)
        found = []
        for seed in range(FIRST_SEED, FIRST_SEED + episodes):
            begin(seed)
            drawn = np.random.default_rng(seed).uniform(-0.25, 0.25, (RANDOM_STEPS, 9))
            found.append(pair.replay(iter(drawn) if random else expert_actions(pair)))
        worst = {key: max(one[key] for one in found) for key in ("arm", "target", "kettle")}
        succeeded = [sum(one[key] for one in found) for key in ("native", "ours")]
        median = np.median([one["arm"] for one in found])
        rows.append(
            f"| {pair.task} | {case} | {worst['arm']:.1e} ({median:.1e}) | {worst['target']:.1e} "
            f"| {worst['kettle']:.1e} | {succeeded[0]}, {succeeded[1]} of {episodes} |"
        )
    pair.mend(CASES[0])
    return rows


def own_resets(pair: Pair, seed: int) -> None:
    """Both at RoboHive's reset of that seed."""
    pair.native.reset(seed=seed)
    pair.mirror.update()


def expert_success(task: str, episodes: int) -> str:
    """A row: successes in RoboHive under its own resets and rules."""
    env = RoboHiveFK1Env(task, cameras=())
    expert = MirroredExpert(env)
    successes, solved = 0, []
    for seed in range(FIRST_SEED, FIRST_SEED + episodes):
        env.reset(seed=seed)
        done = False
        while not done:
            action = expert.act()
            assert action is not None
            *_, terminated, truncated, info = env.step(action)
            done = terminated or truncated
        successes += info["success"]
        solved.append(info["solved_steps"])
    return f"| {task} | {successes} of {episodes} | {np.median(solved):.0f} |"


def draw(path: Path, size: int = 224) -> None:
    """RoboHive's picture, ours under both qualities, and our other kitchen; differences printed."""
    from PIL import Image

    from envs.kitchen import KitchenEnv

    names = {"left_cam": "left", "right_cam": "right", "top_cam": "top"}
    native = RoboHiveFK1Env("microwave", cameras=tuple(names), resolution=size, quality="full")
    native.reset(seed=FIRST_SEED)
    theirs = {
        names[cam]: native.kitchen.robot.get_visual_sensors(size, size, [cam], 0, sim)[0][0]
        for sim in (_textured(native),)
        for cam in names
    }
    rows = [("RoboHive", theirs)]
    rows.append(("native full", {names[cam]: native.render_camera(cam) for cam in names}))
    for label, kind, quality in (
        ("robohive_kitchen full", RoboHiveKitchenEnv, "full"),
        ("robohive_kitchen fast", RoboHiveKitchenEnv, "fast"),
        ("franka_kitchen full", KitchenEnv, "full"),
    ):
        env = kind("microwave", cameras=tuple(names.values()), resolution=size, quality=quality)
        env.reset(seed=0)
        env.restore(env.simulator_state(), {**env.reset_record(), **native.reset_record()})
        env.data.qpos[env.robot_qpos] = native.data.qpos[:9]
        mujoco.mj_forward(env.model, env.data)
        rows.append((label, {name: env.render_camera(name) for name in names.values()}))
    print("| mean difference to RoboHive's picture, gray levels | left | right | top |")
    print("|---|---|---|---|")
    for label, images in rows[1:]:
        levels = [np.abs(images[n].astype(float) - theirs[n]).mean() for n in names.values()]
        print(f"| {label} | " + " | ".join(f"{level:.2f}" for level in levels) + " |")
    shown = [
        np.hstack([images[n] for n in names.values()]) for _, images in rows if _ != "native full"
    ]
    Image.fromarray(np.vstack(shown)).save(path)


def _textured(native: RoboHiveFK1Env) -> Any:
    """RoboHive's own simulation and renderer of the same state, with textures."""
    from envs.robohive.native.package import make_kitchen
    from envs.robohive.native.scene import textured_model

    kitchen = make_kitchen(native.kitchen.id, textured_model())
    kitchen.sim.model.ptr.body_pos[:] = native.model.body_pos
    kitchen.sim.data.ptr.qpos[:] = native.data.qpos
    kitchen.sim.forward()
    return kitchen.sim


def main() -> None:
    """Prints the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--expert-episodes", type=int, default=20)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    tasks = options.tasks.split(",") if options.tasks else []
    print(f"MuJoCo {mujoco.__version__}, {options.episodes} sequences a row")
    header = (
        "| task | RoboHive | arm, rad: largest (median) | target joint, rad or m | kettle, m "
        "| success: RoboHive, ours |\n|---|---|---|---|---|---|"
    )
    pairs = {task: Pair(task) for task in tasks}
    for random in (False, True):
        print(f"\n{'Random actions' if random else 'Expert replays'}\n\n{header}")
        for pair in pairs.values():
            begin = (
                (lambda seed, pair=pair: own_resets(pair, seed)) if random else (pair.begin_at_ours)
            )
            print("\n".join(measure(pair, begin, random, options.episodes)), flush=True)
    print("\n| task | expert in RoboHive, its own resets | solved steps, median |\n|---|---|---|")
    for task in tasks:
        print(expert_success(task, options.expert_episodes), flush=True)
    if options.pictures:
        print()
        draw(options.pictures)


if __name__ == "__main__":
    main()
