import os
import subprocess
import sys
import textwrap
import threading

import mujoco
import numpy as np
import pytest

from egodtm_robot.core.drawing import mesh_decimation
from egodtm_robot.core.drawing import offscreen as rendering
from egodtm_robot.core.drawing.offscreen import OffscreenRenderer
from egodtm_robot.core.errors import RenderingError, UnknownNameError
from envs.kitchen.scene import ROBOT_JOINTS, ROBOT_REST, build_model, textured_model

SCENE = """
<mujoco>
  <visual><map znear="0.01" zfar="50"/></visual>
  <statistic extent="2"/>
  <worldbody>
    <light pos="0 0 3"/>
    <camera name="eye" pos="0.2 -1.5 1.2" xyaxes="1 0 0 0 0.6 0.8" fovy="50"/>
    <body name="ball" pos="-0.4 0 0.3"><geom type="sphere" size="0.3" rgba="1 0 0 1"/></body>
    <body name="crate" pos="0.5 0.2 0.2" euler="0 0 30">
      <geom type="box" size="0.2 0.2 0.2" rgba="0 1 0 1"/><site name="mark" pos="0 0 .3" size=".1"/>
    </body>
  </worldbody>
</mujoco>
"""


@pytest.fixture
def scene():
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


@pytest.fixture(scope="module")
def kitchen():
    model = textured_model()
    data = mujoco.MjData(model)
    for name, position in zip(ROBOT_JOINTS, ROBOT_REST, strict=True):
        data.joint(name).qpos[0] = position
    mujoco.mj_forward(model, data)
    return model, data


def rays(model, data, camera, height, width):
    """Depth along the optical axis and geom (-1: none) at each pixel's center, by ray casting."""
    index = model.camera(camera).id
    rotation = data.cam_xmat[index].reshape(3, 3)
    scale = np.tan(np.deg2rad(model.cam_fovy[index]) / 2) / (height / 2)
    groups = np.array([1, 1, 1, 0, 0, 0], np.uint8)
    depth = np.full((height, width), np.nan)
    geoms = np.full((height, width), -1)
    geom = np.zeros(1, np.int32)
    for row in range(height):
        for column in range(width):
            x = (column + 0.5 - width / 2) * scale
            y = -(row + 0.5 - height / 2) * scale
            direction = np.array([x, y, -1.0])
            length = np.linalg.norm(direction)
            distance = mujoco.mj_ray(
                model,
                data,
                data.cam_xpos[index],
                rotation @ direction / length,
                groups,
                1,
                -1,
                geom,
            )
            if distance >= 0:
                depth[row, column] = distance / length
                geoms[row, column] = geom[0]
    return depth, geoms


def inside(geoms):
    """Pixels whose neighbors show the same geom: away from silhouettes."""
    same = np.ones(geoms.shape, bool)
    for axis in (0, 1):
        for shift in (-1, 1):
            same &= np.roll(geoms, shift, axis) == geoms
    same[[0, -1]] = False
    same[:, [0, -1]] = False
    return same


def test_depth_equals_ray_casting_to_a_millimeter_on_flat_faces(scene):
    model, data = scene
    renderer = OffscreenRenderer(model, 48, 64)
    depth = renderer.draw(data, "eye", ("depth",))["depth"]
    expected, geoms = rays(model, data, "eye", 48, 64)
    crate = (geoms == 1) & inside(geoms)
    assert depth.dtype == np.float32
    assert crate.sum() > 50
    assert np.abs(depth - expected)[crate].max() < 1e-3
    renderer.close()


@pytest.mark.parametrize(
    ("quality", "camera"), [("fast", "left"), ("fast", "wrist"), ("full", "left")]
)
def test_depth_and_bodies_of_the_kitchen_equal_ray_casting(kitchen, quality, camera):
    model, data = kitchen
    with OffscreenRenderer(model, 32, 32, quality) as renderer:
        images = renderer.draw(data, camera, ("depth", "segmentation"))
    expected, geoms = rays(model, data, camera, 32, 32)
    body = np.where(geoms >= 0, model.geom_bodyid[geoms], -1)
    # Round things are drawn as prisms, so that silhouettes differ by a pixel.
    assert (images["segmentation"] == body).mean() > 0.93
    planar = np.isin(model.geom_type, [mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_PLANE])
    flat = (geoms >= 0) & planar[geoms] & inside(geoms)
    assert flat.sum() > (50 if camera == "left" else 10)
    assert np.abs(images["depth"] - expected)[flat].max() < 1e-3


def test_background_is_far_and_belongs_to_no_body(scene):
    model, data = scene
    with OffscreenRenderer(model, 32, 32) as renderer:
        images = renderer.draw(data, "eye", ("rgb", "depth", "segmentation"))
    empty = images["segmentation"] == rendering.BACKGROUND
    assert empty.any()
    assert images["depth"][empty] == pytest.approx(50 * 2, rel=1e-3)
    assert set(np.unique(images["segmentation"])) == {-1, 1, 2}
    assert images["rgb"][images["segmentation"] == 1][:, 0].min() > 0


def test_one_call_gives_what_single_calls_give(scene):
    model, data = scene
    with OffscreenRenderer(model, 32, 48) as renderer:
        together = renderer.draw(data, "eye", ("rgb", "depth", "segmentation"))
        for modality in rendering.MODALITIES:
            alone = renderer.draw(data, "eye", (modality,))
            assert list(alone) == [modality]
            np.testing.assert_array_equal(alone[modality], together[modality])
    assert together["rgb"].shape == (32, 48, 3)
    assert together["rgb"].flags.c_contiguous
    assert together["rgb"].flags.owndata


def test_frames_do_not_share_memory(scene):
    model, data = scene
    with OffscreenRenderer(model, 16, 16) as renderer:
        first = renderer.draw(data, "eye", ("rgb", "depth"))
        kept = {name: image.copy() for name, image in first.items()}
        data.qpos[:] = 0
        model.body_pos[1, 0] += 0.5
        mujoco.mj_forward(model, data)
        second = renderer.draw(data, "eye", ("rgb", "depth"))
    for name in kept:
        np.testing.assert_array_equal(first[name], kept[name])
        assert not np.array_equal(first[name], second[name])


def test_renderers_of_different_size_and_quality_do_not_disturb_each_other(scene):
    model, data = scene
    small, large = OffscreenRenderer(model, 16, 16), OffscreenRenderer(model, 64, 64, "full")
    before = small.draw(data, "eye")["rgb"], large.draw(data, "eye")["rgb"]
    for _ in range(2):
        np.testing.assert_array_equal(small.draw(data, "eye")["rgb"], before[0])
        np.testing.assert_array_equal(large.draw(data, "eye")["rgb"], before[1])
    large.close()
    np.testing.assert_array_equal(small.draw(data, "eye")["rgb"], before[0])
    small.close()


def test_renderers_share_what_is_loaded_and_free_it_with_the_last(scene):
    model, data = scene
    other = mujoco.MjModel.from_xml_string(SCENE)
    first, second = OffscreenRenderer(model, 20, 20), OffscreenRenderer(other, 20, 20)
    first.draw(data, "eye")
    loaded = set(rendering._process.drawing)
    expected = second.draw(data, "eye")["rgb"]
    assert set(rendering._process.drawing) == loaded
    first.close()
    first.close()
    np.testing.assert_array_equal(second.draw(data, "eye")["rgb"], expected)
    second.close()
    assert len(rendering._process.drawing) == len(loaded) - 1


def test_sizes_share_what_is_loaded_and_draw_as_if_alone(kitchen):
    model, data = kitchen
    with OffscreenRenderer(model, 40, 56) as alone:
        expected = alone.draw(data, "left", rendering.MODALITIES)
    small, large = OffscreenRenderer(model, 40, 56), OffscreenRenderer(model, 96, 80)
    small.draw(data, "right")
    loaded = set(rendering._process.drawing)
    large.draw(data, "right")
    assert set(rendering._process.drawing) == loaded
    for name, image in small.draw(data, "left", rendering.MODALITIES).items():
        np.testing.assert_array_equal(image, expected[name])
    small.close()
    large.close()


def test_textures_may_come_from_another_model_that_is_built_once(kitchen):
    textured, data = kitchen
    with OffscreenRenderer(textured, 48, 48) as renderer:
        expected = renderer.draw(data, "left")["rgb"]
    built = []

    def assets():
        built.append(textured_model())
        return built[-1]

    plain = [build_model() for _ in range(2)]
    renderers = [OffscreenRenderer(model, 48, 48, assets=assets) for model in plain]
    for model, renderer in zip(plain, renderers, strict=True):
        mine = mujoco.MjData(model)
        mine.qpos[:] = data.qpos
        mujoco.mj_forward(model, mine)
        np.testing.assert_array_equal(renderer.draw(mine, "left")["rgb"], expected)
    assert len(built) == 1
    for renderer in renderers:
        renderer.close()


def test_colors_changed_in_the_live_model_show_in_the_next_frame(scene):
    model, data = scene
    with OffscreenRenderer(model, 16, 16) as renderer:
        before = renderer.draw(data, "eye")["rgb"]
        model.geom_rgba[0, :3] = (0, 0, 1)
        assert not np.array_equal(renderer.draw(data, "eye")["rgb"], before)


def test_fast_differs_little_from_the_same_without_decimation(kitchen, monkeypatch):
    model, data = kitchen
    # Full without shadows, reflections, sky and smoothed edges, which change pixels by design.
    plain = rendering.Quality("plain", effects=False, multisampling=False)
    monkeypatch.setitem(rendering.QUALITIES, "plain", plain)
    # The hand fills the wrist camera's picture.
    for camera, most in (("left", 2.0), ("right", 2.0), ("top", 2.0), ("wrist", 3.0)):
        images = []
        for quality in ("fast", "plain"):
            with OffscreenRenderer(model, 112, 112, quality) as renderer:
                images.append(renderer.draw(data, camera)["rgb"].astype(int))
        difference = np.abs(images[0] - images[1]).mean()
        # Not zero either: the decimated meshes must be those that are drawn.
        assert 0.05 < difference < most


def test_drawing_leaves_the_model_alone(kitchen):
    model, data = kitchen
    before = model.mesh_vert.copy(), model.mesh_face.copy(), model.mesh_facenum.copy()
    settings = model.vis.quality.offsamples, model.vis.global_.offwidth
    with OffscreenRenderer(model, 24, 24) as renderer:
        renderer.draw(data, "left")
    np.testing.assert_array_equal(model.mesh_vert, before[0])
    np.testing.assert_array_equal(model.mesh_face, before[1])
    np.testing.assert_array_equal(model.mesh_facenum, before[2])
    assert (model.vis.quality.offsamples, model.vis.global_.offwidth) == settings


def sphere(rings, segments):
    """A closed unit sphere of triangles."""
    theta = np.linspace(0, np.pi, rings + 1)[1:-1]
    phi = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    ring = [[np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)] for t in theta for p in phi]
    vertices = np.array([*ring, [0, 0, 1], [0, 0, -1]])
    top, bottom = len(ring), len(ring) + 1
    faces = []
    for j in range(segments):
        k = (j + 1) % segments
        faces.append([top, j, k])
        faces.append([bottom, (rings - 2) * segments + k, (rings - 2) * segments + j])
        for i in range(rings - 2):
            a, b = i * segments + j, i * segments + k
            faces += [[a, a + segments, b], [b, a + segments, b + segments]]
    return vertices, np.array(faces)


def test_a_decimated_sphere_is_still_a_smooth_closed_sphere():
    vertices, faces = sphere(60, 120)
    few, few_faces, normals, indices = mesh_decimation.decimate(vertices, faces, 700)
    assert 200 < len(few_faces) <= 700
    assert np.abs(np.linalg.norm(few, axis=1) - 1).max() < 0.02
    corners = few[few_faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    volume = np.einsum("ij,ij->", corners[:, 0], cross) / 6
    assert volume == pytest.approx(4 / 3 * np.pi, rel=0.03)
    # Each edge once in each direction: no holes.
    edges = np.concatenate([few_faces[:, [0, 1]], few_faces[:, [1, 2]], few_faces[:, [2, 0]]])
    assert {tuple(edge) for edge in edges} == {tuple(edge[::-1]) for edge in edges}
    angles = np.einsum("ijk,ijk->ij", normals[indices], corners)
    assert angles.min() > 0.97


def test_a_decimated_cube_keeps_its_corners_and_creases():
    steps = np.linspace(-1, 1, 21)
    vertices, faces = [], []
    for axis in range(3):
        for side in (-1, 1):
            start = len(vertices)
            for u in steps:
                for v in steps:
                    point = np.roll([side, u, v], axis)
                    vertices.append(point)
            for i in range(20):
                for j in range(20):
                    a = start + i * 21 + j
                    quad = [[a, a + 21, a + 1], [a + 1, a + 21, a + 22]]
                    faces += quad if side > 0 else [face[::-1] for face in quad]
    vertices, inverse = np.unique(np.round(vertices, 6), axis=0, return_inverse=True)
    faces = inverse.ravel()[np.array(faces)]
    few, few_faces, normals, indices = mesh_decimation.decimate(vertices, faces, 600)
    assert len(few_faces) < len(faces) / 4
    assert few.max(axis=0) == pytest.approx([1, 1, 1], abs=0.02)
    corners = few[few_faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    # Faces of the cube are flat to the eye: their normals do not bend around the edges.
    on_side = np.abs(flat).max(axis=1) > 0.99
    assert on_side.mean() > 0.9
    bend = np.einsum("ijk,ik->ij", normals[indices], flat)[on_side]
    assert bend.min() > 0.95


@pytest.mark.parametrize("size", [(0, 8), (8, -1)])
def test_sizes_must_be_positive(scene, size):
    with pytest.raises(RenderingError, match="positive"):
        OffscreenRenderer(scene[0], *size)


def test_unknown_names_are_named_with_those_known(scene):
    model, data = scene
    with pytest.raises(UnknownNameError, match="fast, full"):
        OffscreenRenderer(model, 8, 8, "fastt")
    with OffscreenRenderer(model, 8, 8) as renderer:
        with pytest.raises(UnknownNameError, match="eye"):
            renderer.draw(data, "nose")
        with pytest.raises(UnknownNameError, match="camera"):
            renderer.draw(data, 7)
        with pytest.raises(UnknownNameError, match="segmentation"):
            renderer.draw(data, "eye", ("normals",))


def test_a_closed_renderer_says_so(scene):
    model, data = scene
    renderer = OffscreenRenderer(model, 8, 8)
    renderer.draw(data, "eye")
    renderer.close()
    with pytest.raises(RenderingError, match="closed"):
        renderer.draw(data, "eye")


def test_another_thread_gets_a_clear_error(scene):
    model, data = scene
    renderer = OffscreenRenderer(model, 8, 8)
    renderer.draw(data, "eye")
    caught = []

    def draw():
        try:
            renderer.draw(data, "eye")
        except RenderingError as error:
            caught.append(error)

    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()
    renderer.close()
    if os.environ.get("MUJOCO_GL") == "egl":
        assert "thread" in str(caught[0])


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


DRAW = f"""
import mujoco
from egodtm_robot.core.drawing.offscreen import OffscreenRenderer
model = mujoco.MjModel.from_xml_string('''{SCENE}''')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = OffscreenRenderer(model, 16, 16)
"""


def test_an_unclosed_renderer_does_not_crash_the_interpreter_at_exit():
    result = run_python(DRAW + "print(renderer.draw(data, 'eye')['rgb'].shape)")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "(16, 16, 3)"
    assert result.stderr == ""


def test_without_a_display_library_the_error_names_debian_packages():
    code = """
    from egodtm_robot.core.drawing import gl
    gl._find_linux_backend = lambda: None
    """
    result = run_python(textwrap.dedent(code) + DRAW + "renderer.draw(data, 'eye')", MUJOCO_GL="")
    if sys.platform == "linux":
        assert "RenderingError" in result.stderr or "GLUnavailableError" in result.stderr
        assert "libegl1" in result.stderr


def test_a_context_that_cannot_be_made_gives_the_error_with_packages(scene, monkeypatch):
    import importlib

    def fail(name):
        raise ImportError(f"no library for {name}")

    monkeypatch.setattr(rendering, "_process", None)
    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(RenderingError, match="libegl-mesa0"):
        OffscreenRenderer(scene[0], 8, 8).draw(scene[1], "eye")


def test_a_process_forked_after_drawing_refuses_to_draw():
    result = run_python(
        DRAW
        + textwrap.dedent("""
        import os
        from egodtm_robot.core.errors import RenderingError
        renderer.draw(data, "eye")
        child = os.fork()
        if child == 0:
            try:
                renderer.draw(data, "eye")
            except RenderingError as error:
                os._exit(7 if "spawn" in str(error) else 1)
            os._exit(2)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """)
    )
    assert result.stdout.strip() == "7", result.stderr
