import pytest

from egodtm_robot.core.errors import ConfigurationError, UnknownNameError
from pretrain.clips.sources.base import ClipRequest, Failure
from pretrain.clips.sources.folder import FolderSource
from pretrain.clips.sources.registry import make_source
from pretrain.clips.sources.tables import AnnotationFileError


def rows(folder, text: str, **options) -> list[ClipRequest | Failure]:
    (folder / "clips.csv").write_text(text)
    return list(FolderSource(str(folder), **options).read())


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_what_separates_columns_is_seen_from_their_names(tmp_path, separator):
    lines = [("video", "start", "end", "text"), ("a.mp4", "0:01.5", "2", "#C C stirs")]
    (request,) = rows(tmp_path, "\n".join(separator.join(line) for line in lines))
    assert isinstance(request, ClipRequest)
    assert (request.start_s, request.end_s, request.narration) == (1.5, 2.0, "#C C stirs")


def test_a_spreadsheet_mark_and_blanks_do_no_harm(tmp_path):
    text = "\ufeffvideo, start, end, text\r\n\r\na.mp4, 1, 2, stirs\r\n"
    (request,) = rows(tmp_path, text)
    assert isinstance(request, ClipRequest)
    assert request.narration == "stirs"


def test_a_wrong_column_is_named_with_the_nearest(tmp_path):
    with pytest.raises(AnnotationFileError, match=r"column 'video' in .*Is it 'vidoe'\?"):
        rows(tmp_path, "vidoe,start,end,text\na,1,2,x\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        ("\n \n", "an empty file"),
        ("video,start,end,text\n", "rows below the names of columns"),
    ],
)
def test_a_table_of_nothing_is_named(tmp_path, text, message):
    with pytest.raises(AnnotationFileError, match=message):
        rows(tmp_path, text)


def test_a_missing_table_and_one_that_is_no_text_are_named(tmp_path):
    with pytest.raises(AnnotationFileError, match="there is nothing"):
        list(FolderSource(str(tmp_path)).read())
    (tmp_path / "clips.csv").write_bytes(b"video,start,end,text\n\xff\xfe,1,2,x\n")
    with pytest.raises(AnnotationFileError, match="UTF-8"):
        list(FolderSource(str(tmp_path)).read())


def test_rows_that_are_no_clips_become_failures_and_the_others_are_read(tmp_path):
    found = rows(
        tmp_path,
        "video,start,end,text\n"
        "a.mp4,1,1,zero length\n"
        "a.mp4,3,2,backwards\n"
        "a.mp4,one,2,words\n"
        ",1,2,no video\n"
        "a.mp4,1,2,\n"
        "a.mp4,1,2,a comma, too many\n"
        "a.mp4,1,2,good\n",
    )
    failures, good = found[:-1], found[-1]
    assert isinstance(good, ClipRequest)
    assert good.narration == "good"
    reasons = [failure.reason for failure in failures if isinstance(failure, Failure)]
    assert len(reasons) == 6
    wanted = ("some length", "ends after its start", "'one'", "column video", "column text",
              "4 columns, got 5")  # fmt: skip
    for reason, part in zip(reasons, wanted, strict=True):
        assert part in reason
    assert all(isinstance(f, Failure) and f.stage == "source" for f in failures)
    assert [f.key for f in failures[2:]] == [f"clips.csv:{n}" for n in (4, 5, 6, 7)]


def test_optional_columns_steer_decoding_and_others_are_kept(tmp_path):
    found = rows(
        tmp_path,
        "video,start,end,text,key,scene,crop,fps,depth,weather\n"
        "rgb,,,salts,k1,kitchen,0 0 0.5 0.5,15,deep,rain\n"
        "rgb,1,2,stirs,,,,,,\n"
        "rgb,1,2,stirs,,,0.5 0 0.5 1,,,\n",
        depth_calibration="fphab",
    )
    first, second, third = found
    assert isinstance(first, ClipRequest)
    assert (first.key, first.scene, first.start_s, first.end_s) == (
        "k1",
        "kitchen",
        0,
        float("inf"),
    )
    assert first.extra == {
        "crop": [0.0, 0.0, 0.5, 0.5],
        "fps": 15.0,
        "depth": {
            "folder": str(tmp_path / "deep"), "unit_m": 0.001, "calibration": "fphab",
        },
        "weather": "rain",
    }  # fmt: skip
    assert isinstance(second, ClipRequest)
    assert (second.key, second.scene, second.extra) == ("rgb/1", "rgb", {})
    assert isinstance(third, Failure)
    assert "left, top, right and bottom" in third.reason


def test_sources_are_made_from_names_and_import_paths():
    with pytest.raises(ConfigurationError, match=r"source\.videos=\.\.\."):
        make_source("folder")
    with pytest.raises(UnknownNameError, match="epic_kitchens"):
        make_source("epic_kitchen")
    target = "pretrain.clips.sources.folder.FolderSource"
    source = make_source({"_target_": target, "videos": "v", "name": "mine"})
    assert source.name == "mine"
    with pytest.raises(UnknownNameError, match="'video'"):
        make_source({"_target_": target, "video": "v"})
    with pytest.raises(ConfigurationError, match="import path"):
        make_source({"_target_": "pretrain.clips.sources.nowhere.Nothing"})
    with pytest.raises(ConfigurationError, match="method read"):
        make_source({"_target_": "pathlib.Path"})
