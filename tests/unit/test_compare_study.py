"""The comparison over many images: table, figure, and what it says when a summary is not usable."""

import csv
import json
import xml.etree.ElementTree as ET
from itertools import combinations
from types import SimpleNamespace

import matplotlib.text
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from compare_study import compare_study
from conftest import run_script
from roistream.errors import UserError
from roistream.figures.study_memory import draw_study, limits
from roistream.figures.style import strategy_colour
from roistream.memory.summaries import COLUMNS, Summary
from roistream.strategies import STRATEGIES


def summaries_of(n_images, strategies=tuple(STRATEGIES), predicted=True, **changes):
    """Make up summaries: the larger the image, the larger the peak, more so for the first strategies."""
    rng = np.random.default_rng(3)
    made = []
    for _ in range(n_images):
        n_volumes = int(rng.integers(80, 1200))
        for place, strategy in enumerate(strategies):
            peak = 60 + n_volumes * 12 / 5**place
            entry = {
                "strategy": strategy,
                "n_jobs": 6,
                "n_regions": 64,
                "n_volumes": n_volumes,
                "image_mib": n_volumes * 1.04,
                "peak_pss_mib": round(peak, 1),
                "peak_rss_mib": round(1.2 * peak, 1),
                "peak_shm_mib": 0.0,
                "predicted_mib": round(1.1 * peak, 1) if predicted else None,
                "wall_s": round(peak / 100, 2),
            }
            made.append(Summary(**entry | changes))
    return made


def write_summaries(folder, summaries):
    paths = []
    for number, summary in enumerate(summaries):
        paths.append(folder / str(number) / "memory.json")
        paths[-1].parent.mkdir(parents=True)
        paths[-1].write_text(json.dumps(vars(summary)))
    return paths


def compare(folder, summaries, images):
    outputs = SimpleNamespace(table=folder / "out/s.tsv", png=folder / "out/s.png", svg=folder / "out/s.svg")
    compare_study(write_summaries(folder, summaries), images, **vars(outputs))
    return outputs


def svg_texts(path):
    space = "{http://www.w3.org/2000/svg}"
    return [
        text
        for element in ET.parse(path).getroot().iter(f"{space}text")
        if (text := "".join(element.itertext()).strip())
    ]


def test_table_has_one_row_for_each_image_and_strategy(tmp_path):
    summaries = summaries_of(2, ["stream", "numpy_path"])
    summaries[1] = Summary(**vars(summaries[1]) | {"predicted_mib": None})
    images = ["sub-1", "sub-1", "sub-2", "sub-2"]
    with compare(tmp_path, summaries, images).table.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert tuple(rows[0]) == ("image", *COLUMNS)
    assert [(row["image"], row["strategy"]) for row in rows] == [
        ("sub-1", "stream"),
        ("sub-1", "numpy_path"),
        ("sub-2", "stream"),
        ("sub-2", "numpy_path"),
    ]
    assert rows[1]["predicted_mib"] == "n/a"
    for row, summary in zip(rows, summaries, strict=True):
        for key in set(COLUMNS) - {"strategy", "predicted_mib"}:
            assert float(row[key]) == getattr(summary, key)


def test_an_unusable_summary_is_named_and_nothing_is_left(tmp_path):
    paths = write_summaries(tmp_path, summaries_of(2, ["stream"]))
    paths[1].write_text("{}")
    with pytest.raises(UserError, match=r"1/memory\.json lacks strategy"):
        compare_study(paths, ["a", "b"], tmp_path / "s.tsv", tmp_path / "s.png", tmp_path / "s.svg")
    assert not list(tmp_path.glob("*s.*"))


def test_the_same_summaries_give_the_same_files(tmp_path):
    summaries = summaries_of(3)
    images = [f"sub-{number}" for number in range(3) for _ in STRATEGIES]
    one, other = compare(tmp_path / "1", summaries, images), compare(tmp_path / "2", summaries, images)
    for kind in ("table", "png", "svg"):
        assert getattr(one, kind).read_bytes() == getattr(other, kind).read_bytes()
    with Image.open(one.png) as image:
        assert min(image.size) > 1000


def test_svg_holds_title_labels_and_numbers_as_text(tmp_path):
    peaks = [100.4, 300, 5000]
    summaries = [summaries_of(1, ["stream"], peak_pss_mib=peak, n_volumes=int(peak))[0] for peak in peaks]
    texts = svg_texts(compare(tmp_path, summaries, ["a", "b", "c"]).svg)
    page = " ".join(texts)
    assert "Peak memory and wall time of extracting 64 regions" in page
    assert "from 3 images of 100 to 5,000 volumes each, 6 parallel jobs" in page
    assert {"stream", "median", "max", "300", "5,000"} <= set(texts)
    assert "above the line: more than predicted" in texts
    assert "colours as above" not in texts


def test_program(tmp_path):
    for path, image in zip(write_summaries(tmp_path, summaries_of(2, ["stream"])), ("one", "sub 2"), strict=True):
        (tmp_path / "out" / image / "stream").mkdir(parents=True)
        path.rename(tmp_path / "out" / image / "stream" / "memory.json")
    options = ["--results", "out", "--strategies", "stream", "--log", "study.log"]
    options += ["--table", "s.tsv", "--png", "s.png", "--svg", "s.svg"]
    done = run_script("compare_study.py", *options, "--images", "one", "sub 2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "s.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["image", "one", "sub 2"]
    assert (tmp_path / "study.log").read_text() == done.stderr
    (tmp_path / "runs.tsv").write_text("image\trun\nsub 2\ta.nii\none\tb.nii\nsub 2\tc.nii\n")
    assert run_script("compare_study.py", *options, "--runs-table", "runs.tsv", cwd=tmp_path).returncode == 0
    assert [line.split("\t")[0] for line in (tmp_path / "s.tsv").read_text().splitlines()] == ["image", "sub 2", "one"]


def test_points_have_the_places_and_colours_of_their_strategies():
    summaries = summaries_of(30, ["numpy_path", "stream"])
    memory, time, size, prediction = draw_study(summaries).axes
    for strategy, row in (("numpy_path", 0), ("stream", 1)):
        own = [summary for summary in summaries if summary.strategy == strategy]
        peaks = [summary.peak_pss_mib for summary in own]
        for axes, xs, ys in (
            (memory, peaks, None),
            (time, [summary.wall_s for summary in own], None),
            (size, [summary.image_mib for summary in own], peaks),
            (prediction, [summary.predicted_mib for summary in own], peaks),
        ):
            [points] = [line for line in axes.lines if line.get_label() == STRATEGIES[strategy].label]
            assert list(points.get_xdata()) == xs
            assert to_rgb(points.get_color()) == to_rgb(strategy_colour(strategy))
            if ys is None:
                assert np.abs(points.get_ydata() - row).max() < 0.5
            else:
                assert list(points.get_ydata()) == ys


def test_without_a_prediction_there_is_no_panel_for_it():
    assert len(draw_study(summaries_of(2, predicted=False)).axes) == 3
    some = [*summaries_of(2, ["stream"]), *summaries_of(2, ["mmap"], predicted=False)]
    prediction = draw_study(some).axes[3]
    points = {line.get_label(): len(line.get_xdata()) for line in prediction.lines if line.get_marker() == "o"}
    assert points == {"stream": 2, STRATEGIES["mmap"].label: 0}


@pytest.mark.parametrize(("values", "low", "high"), [([10], 5, 20), ([0, 0], 0.005, 0.02), ([1, 1000], 1 / 1.15, 1150)])
def test_axes_reach_beyond_the_values(values, low, high):
    assert limits(values) == (pytest.approx(low), pytest.approx(high))


def test_logarithmic_axes_are_named_so():
    for axes in draw_study(summaries_of(30)).axes:
        for axis in (axes.xaxis, axes.yaxis):
            if name := axis.get_label_text():
                assert name.endswith("(log scale)") == (axis.get_scale() == "log"), name


LOOKS = {
    "two images": summaries_of(2),
    "many images": summaries_of(1200, ["nifti_masker_path", "stream"]),
    "one strategy": summaries_of(2, ["stream"]),
    "no prediction": summaries_of(20, predicted=False),
    "equal images": summaries_of(5, n_volumes=300, image_mib=312.5, peak_pss_mib=59, wall_s=1.2),
    "hundreds of GiB": summaries_of(5, peak_pss_mib=988_888, wall_s=86_400, predicted_mib=100),
    "nothing": summaries_of(2, peak_pss_mib=0, wall_s=0, image_mib=0, predicted_mib=0),
    "jobs differ": [*summaries_of(2, ["stream"], n_jobs=1), *summaries_of(2, ["mmap"])],
}


@pytest.mark.parametrize("look", LOOKS)
def test_texts_lie_inside_the_figure_and_apart(look, monkeypatch):
    figure = draw_study(LOOKS[look])
    drawn = []
    draw = matplotlib.text.Text.draw
    monkeypatch.setattr(matplotlib.text.Text, "draw", lambda text, renderer: (drawn.append(text), draw(text, renderer)))
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    texts = {text: text.get_window_extent(renderer) for text in drawn if text.get_visible() and text.get_text()}
    assert len(texts) > 15
    for text, box in texts.items():
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
    for (one, its_box), (other, other_box) in combinations(texts.items(), 2):
        assert not its_box.overlaps(other_box), (one, other)
