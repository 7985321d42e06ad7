import io

import pytest

from pretrain.preparation.stage_progress import StageProgress


def test_time_left_adds_up_all_stages_over_all_workers():
    progress = StageProgress(("decode", "depth"), 100, 2, io.StringIO(), log_every_s=0)
    assert progress.seconds_left is None
    progress("decode", 10, 1.0)
    assert progress.seconds_left is None, "nothing is known of depth"
    progress("depth", 10, 5.0)
    # 90 clips at 0.1 s and 90 at 0.5 s, on two workers.
    assert progress.seconds_left == pytest.approx((9 + 45) / 2)
    progress("depth", 90, None)
    assert progress.seconds_left == pytest.approx(9 / 2)


def test_a_line_tells_clips_and_rate_of_each_stage():
    stream = io.StringIO()
    progress = StageProgress(("decode", "depth"), 20, 1, stream, log_every_s=0)
    progress("decode", 20, None)
    assert not stream.getvalue(), "what was there before is no news"
    progress("depth", 5, 10.0)
    assert stream.getvalue() == "decode 20/20  depth 5/20 0.5/s  eta 0:30\n"
    progress("depth", 15, 30.0)
    progress.finish()
    assert stream.getvalue().splitlines()[-1] == "decode 20/20  depth 20/20 0.5/s  eta 0:00"
