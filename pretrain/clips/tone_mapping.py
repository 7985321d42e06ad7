"""High dynamic range to the range of ordinary video.

Phones and headsets record HLG or PQ in BT.2020 colors. Shown as if it were ordinary video, it is
pale and dim, unlike anything that a model was trained on.
"""

import numpy as np

PQ, HLG = 16, 18
"""Codes of the transfer characteristics in ISO/IEC 23091-2, as decoders report them."""

REFERENCE_WHITE = 203.0
"""Luminance of diffuse white in HDR video, cd/m² (ITU-R BT.2408)."""

_HLG_PEAK = 1000.0
_KNEE = 0.75
_DISPLAY_GAMMA = 2.4
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)
_BT2020_TO_BT709 = np.array(
    [
        [1.660491, -0.587641, -0.072850],
        [-0.124550, 1.132900, -0.008349],
        [-0.018151, -0.100579, 1.118730],
    ],
    np.float32,
)


def tone_map(image: np.ndarray, transfer: int) -> np.ndarray:
    """Bring an HDR image to 8 bits of BT.709 as a display of ordinary video expects them.

    What is up to three quarters of diffuse white keeps its luminance; what is brighter is bent into
    the rest without clipping, the same for all three channels so that hues stay.

    Args:
        image: uint16 (H, W, 3), RGB of BT.2020, full range.
        transfer: PQ (ITU-R BT.2100, SMPTE ST 2084) or HLG (ARIB STD-B67).

    Returns:
        uint8 (H, W, 3), RGB.
    """
    signal = image.astype(np.float32) / np.iinfo(np.uint16).max
    light = (_pq_light(signal) if transfer == PQ else _hlg_light(signal)) / REFERENCE_WHITE
    light = np.maximum(light @ _BT2020_TO_BT709.T, 0)
    brightest = light.max(axis=2, keepdims=True)
    above = np.maximum(brightest - _KNEE, 0)
    bent = np.minimum(brightest, _KNEE) + (1 - _KNEE) * (1 - np.exp(-above / (1 - _KNEE)))
    light *= bent / np.maximum(brightest, 1e-6)
    return np.rint(255 * light ** (1 / _DISPLAY_GAMMA)).astype(np.uint8)


def _pq_light(signal: np.ndarray) -> np.ndarray:
    """The luminance cd/m² that PQ's signal, 0 to 1, stands for."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = signal ** (1 / m2)
    return 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)


def _hlg_light(signal: np.ndarray) -> np.ndarray:
    """The same for HLG on its reference display of 1000 cd/m²."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = (scene @ _LUMINANCE)[..., None]
    return _HLG_PEAK * np.maximum(luminance, 1e-9) ** 0.2 * scene
