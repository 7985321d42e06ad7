import pytest
import torch

from egodtm_robot.core.errors import ConfigurationError
from policies.attention import grid_positions
from policies.spec import FeatureShape, PolicySpec
from policies.tokens import ObservationTokens, TokenEmbedding, TokensConfig

SPEC = PolicySpec(
    5,
    3,
    {
        "left": FeatureShape(36, 20, (6, 6)),
        "words": FeatureShape(9, 8),
        "state": FeatureShape(1, 11),
        "nothing": FeatureShape(1, 0),
    },
)


def observe(rows, spec=SPEC, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"proprioception": (spec.proprioception,)}
    shapes |= {f"features/{n}": (s.tokens, s.dimension) for n, s in spec.features.items()}
    return {n: torch.randn(rows, *shape, generator=generator) for n, shape in shapes.items()}


def make(spec=SPEC, **options):
    torch.manual_seed(0)
    tokens = ObservationTokens(TokensConfig(**{"kind": "grid", **options}), spec)
    tokens.initialize(torch.Generator().manual_seed(0))
    tokens.fit_statistics(observe(200, spec))
    return tokens


def test_a_grid_is_averaged_to_cells_and_other_tokens_stay():
    tokens = make(size=2)
    assert tokens.names == ["left", "words", "state"]
    assert (tokens.counts, tokens.widths) == ([4, 9, 1], [4, 4, 11])
    frames = tokens.precompute(observe(2))
    assert [tuple(t.shape) for t in frames.values()] == [(2, 5), (2, 4, 20), (2, 9, 8), (2, 1, 11)]
    whole = tokens.scales[0](observe(2)["features/left"]).reshape(2, 6, 6, 20)
    torch.testing.assert_close(frames["tokens/0"][:, 1], whole[:, :3, 3:].mean((1, 2)))


def test_principal_components_are_one_token_a_camera():
    tokens = make(kind="principal", components=10, bottleneck=0)
    assert (tokens.counts, tokens.widths) == ([1, 1, 1], [10, 10, 10])
    frames = tokens.precompute(observe(2))
    assert tokens.vector({n: t[:, None] for n, t in frames.items()}).shape == (2, 35)
    assert tokens.vector_dimension == 35


def test_what_has_few_values_needs_no_bottleneck():
    tokens = make()
    assert sorted(tokens.bottlenecks) == ["0", "1"]


def test_noise_is_drawn_in_training_alone():
    tokens = make()
    frames = {n: t[:, None] for n, t in tokens.precompute(observe(2)).items()}
    plain = tokens.vector(frames)
    torch.testing.assert_close(tokens.eval().vector(frames, torch.Generator()), plain)
    noisy = tokens.train().vector(frames, torch.Generator().manual_seed(1))
    again = tokens.vector(frames, torch.Generator().manual_seed(1))
    torch.testing.assert_close(noisy, again)
    changed = (noisy != plain).all(0)
    assert int(changed.sum()) == 4 * 9 + 4 * 9, "each number of a bottleneck and no other"


def test_tokens_know_their_cell_their_frame_and_their_stream():
    tokens = make()
    embedding = TokenEmbedding(tokens, history=2, width=8)
    same = {n: torch.ones(1, 2, *t.shape[1:]) for n, t in tokens.precompute(observe(1)).items()}
    with torch.no_grad():
        embedded = embedding(same["proprioception"], tokens.eval().numbers(same))[0]
    assert embedded.shape == (2 * (1 + 9 + 9 + 1), 8)
    assert len(torch.unique(embedded, dim=0)) == len(embedded)


def test_positions_of_a_grid_are_told_apart_by_row_and_by_column():
    positions = grid_positions(3, 4, 8).reshape(3, 4, 8)
    assert (positions[:, :1, :4] == positions[:, :, :4]).all()
    assert (positions[:1, :, 4:] == positions[:, :, 4:]).all()
    assert len(torch.unique(positions.reshape(12, 8), dim=0)) == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, r"policy\.tokens\.size >= 1, got 0"),
        ({"components": 0}, r"policy\.tokens\.components >= 1"),
        ({"bottleneck": -1}, r"policy\.tokens\.bottleneck >= 0"),
        ({"bottleneck_noise": float("inf")}, r"finite policy\.tokens\.bottleneck_noise"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        TokensConfig(**options)
