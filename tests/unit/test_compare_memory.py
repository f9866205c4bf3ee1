"""The comparison of strategies: table, figure, and what it says when a summary is not usable."""

import csv
import json
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import matplotlib.text
import pytest
from matplotlib.colors import to_rgb
from matplotlib.transforms import Bbox
from PIL import Image

import compare_memory as script
from compare_memory import compare_memory
from conftest import run_script
from roistream.errors import UserError
from roistream.figures.comparison import draw_comparison, draw_figure
from roistream.figures.style import INK, SHADES, format_value, strategy_colour
from roistream.memory.summaries import COLUMNS, Summary
from roistream.strategies import STRATEGIES

# Peak PSS and RSS in MiB and wall time in seconds, as measured with 857 volumes, 6 regions and 6 jobs.
MEASURED = {
    "nifti_masker_path": (11504, 14268, 74),
    "nifti_masker_in_memory": (9320, 15363, 55),
    "numpy_path": (5861, 9002, 15),
    "numpy_in_memory": (1504, 4675, 5.2),
    "shared_memory": (1579, 4498, 4.8),
    "mmap": (986, 1100, 3.6),
    "stream": (85, 85.25, 1.9),
}


def content(name, **changes):
    pss, rss, wall = MEASURED.get(name, (400, 500, 3))
    return {
        "strategy": name,
        "n_jobs": 6,
        "n_regions": 6,
        "n_volumes": 857,
        "image_mib": 912.2,
        "peak_pss_mib": pss,
        "peak_rss_mib": rss,
        "peak_shm_mib": 0.0,
        "predicted_mib": None,
        "wall_s": wall,
    } | changes


def write_summaries(folder: Path, contents) -> list[Path]:
    paths = []
    for position, entry in enumerate(contents):
        path = folder / str(position) / "memory.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(entry))
        paths.append(path)
    return paths


def compare(folder: Path, contents, image="large_fmri") -> SimpleNamespace:
    outputs = SimpleNamespace(table=folder / "out/m.tsv", png=folder / "out/m.png", svg=folder / "out/m.svg")
    compare_memory(summaries=write_summaries(folder, contents), image=image, **vars(outputs))
    return outputs


def svg_texts(path: Path) -> list[str]:
    root = ET.parse(path).getroot()
    space = "{http://www.w3.org/2000/svg}"
    return [text for element in root.iter(f"{space}text") if (text := "".join(element.itertext()).strip())]


# Table


def test_table_has_one_row_per_strategy_in_the_order_given(tmp_path):
    names = list(STRATEGIES)[::-1]
    contents = [content(name, predicted_mib=123.5 if name == names[0] else None) for name in names]
    del contents[1]["predicted_mib"]
    with compare(tmp_path, contents).table.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["strategy"] for row in rows] == names
    assert tuple(rows[0]) == COLUMNS
    assert [row["predicted_mib"] for row in rows] == ["123.5"] + ["n/a"] * (len(names) - 1)
    for row, entry in zip(rows, contents, strict=True):
        for key in set(COLUMNS) - {"strategy", "predicted_mib"}:
            assert float(row[key]) == entry[key]


def test_columns_are_those_of_the_interface():
    assert COLUMNS == (
        "strategy", "n_jobs", "n_regions", "n_volumes", "image_mib",
        "peak_pss_mib", "peak_rss_mib", "peak_shm_mib", "predicted_mib", "wall_s",
    )  # fmt: skip


def test_other_keys_are_ignored(tmp_path):
    outputs = compare(tmp_path, [content("numpy_path", provenance={"version": 1})])
    assert outputs.table.read_text().splitlines()[0].split("\t") == list(COLUMNS)


# Errors


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid JSON"),
        ('{"strategy": ', "not valid JSON"),
        ("\udcff", "not valid JSON"),
        ("[1]", "does not hold a JSON object"),
        (json.dumps({"strategy": "numpy_path", "n_jobs": 6}), "lacks n_regions, n_volumes, image_mib"),
        (json.dumps(content("numpy_pathh")), "unknown strategy 'numpy_pathh'; the strategies are nifti_masker_path"),
        (json.dumps(content("numpy_path", strategy=["numpy_path"])), "unknown strategy ['numpy_path']"),
        (json.dumps(content("numpy_path", wall_s=None)), "impossible wall_s None"),
        (json.dumps(content("numpy_path", peak_pss_mib=float("nan"))), "impossible peak_pss_mib nan"),
        (json.dumps(content("numpy_path", peak_rss_mib=-1)), "impossible peak_rss_mib -1"),
        (json.dumps(content("numpy_path", n_jobs=0)), "impossible n_jobs 0"),
        (json.dumps(content("numpy_path", n_volumes=True)), "impossible n_volumes True"),
        (json.dumps(content("numpy_path", image_mib="912")), "impossible image_mib '912'"),
        (json.dumps(content("numpy_path", predicted_mib="much")), "impossible predicted_mib 'much'"),
    ],
)
def test_unusable_summary_is_named_in_one_sentence(tmp_path, text, said):
    good, bad = write_summaries(tmp_path, [content("nifti_masker_path"), {}])
    bad.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError) as error:
        compare_memory([good, bad], tmp_path / "m.tsv", tmp_path / "m.png", tmp_path / "m.svg", "large_fmri")
    message = str(error.value)
    assert str(bad) in message
    assert said in message
    assert message.endswith(".")
    assert "\n" not in message
    assert not list(tmp_path.glob("*m.*"))


def test_absent_summary_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.json cannot be read: No such file or directory\.$"):
        compare_memory([tmp_path / "nowhere.json"], tmp_path / "t", tmp_path / "p", tmp_path / "s", "large_fmri")


@pytest.mark.parametrize(("key", "value"), [("n_volumes", 856), ("n_regions", 7), ("image_mib", 911.0)])
def test_summaries_of_different_extractions_are_refused(tmp_path, key, value):
    contents = [content("nifti_masker_path"), content("numpy_path"), content("numpy_in_memory", **{key: value})]
    with pytest.raises(UserError, match=rf"2/memory\.json has {key} {value} where .*0/memory\.json has"):
        compare(tmp_path, contents)


def test_a_strategy_given_twice_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"1/memory\.json is the second of strategy numpy_path after .*0/memory\.json"):
        compare(tmp_path, [content("numpy_path"), content("numpy_path")])


# Files


def test_figure_files_are_complete_images(tmp_path):
    outputs = compare(tmp_path, [content(name) for name in STRATEGIES])
    with Image.open(outputs.png) as png:
        png.load()
        assert png.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        assert set(png.info) == {"dpi"}, "no time or program in the metadata"
        assert png.width > 1500
    svg = outputs.svg.read_text()
    assert svg.rstrip().endswith("</svg>")
    assert "<dc:date>" not in svg
    assert {path.name for path in outputs.table.parent.iterdir()} == {"m.tsv", "m.png", "m.svg"}


def test_no_output_is_left_when_the_figure_fails(tmp_path, monkeypatch):
    def fail_after_the_first_file(rows, image, png, svg):
        Path(png).write_bytes(b"half a picture")
        raise OSError("disk full")

    monkeypatch.setattr(script, "write_figure", fail_after_the_first_file)
    with pytest.raises(OSError, match="disk full"):
        compare(tmp_path, [content("numpy_path")])
    assert not list((tmp_path / "out").iterdir())


def test_the_same_summaries_give_the_same_bytes_whatever_the_local_style(tmp_path):
    contents = [content(name, predicted_mib=500) for name in STRATEGIES]
    first = compare(tmp_path / "first", contents)
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "path", "svg.hashsalt": None, "axes.grid": True}):
        second = compare(tmp_path / "second", contents)
    for one, other in zip(vars(first).values(), vars(second).values(), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_program(tmp_path):
    write_summaries(tmp_path, [content("numpy_path"), content("numpy_in_memory")])
    options = ["--summaries", "0/memory.json", "1/memory.json", "--image", "sub-01 ä", "--log", "logs/a log.txt"]
    options += ["--table", "m.tsv", "--png", "m.png", "--svg", "m.svg"]
    done = run_script("compare_memory.py", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert any("of sub-01 ä (" in text for text in svg_texts(tmp_path / "m.svg"))
    (tmp_path / "1/memory.json").write_text("")
    failed = run_script("compare_memory.py", *options, cwd=tmp_path)
    assert failed.returncode == 1
    assert failed.stderr.startswith("ERROR: The memory summary 1/memory.json is not valid JSON")
    assert (tmp_path / "logs/a log.txt").read_text("utf-8") == failed.stderr


# What the figure says


def test_svg_holds_title_labels_values_and_legend_as_text(tmp_path):
    texts = svg_texts(compare(tmp_path, [content(name, predicted_mib=700) for name in STRATEGIES]).svg)
    page = " ".join(texts)
    assert "Peak memory and wall time of extracting 6 regions" in page
    assert "from 857 volumes of large_fmri (912 MiB), 6 parallel jobs" in page
    for strategy in STRATEGIES.values():
        for line in strategy.label.split(", "):
            assert texts.count(line) >= 2, "in both panels"
    for name in MEASURED.keys() & STRATEGIES.keys():
        for value in MEASURED[name]:
            assert format_value(value) in texts
    for entry in ("PSS (shared pages counted once)", "RSS (summed over processes)", "predicted peak"):
        assert texts.count(entry) == 1
    assert texts.count("↓ lower is better") == 2
    assert {"MiB", "seconds"} <= set(texts)


def test_prediction_is_explained_only_where_there_is_one(tmp_path):
    assert "predicted peak" not in svg_texts(compare(tmp_path, [content("numpy_path"), content("mmap")]).svg)


@pytest.mark.parametrize(
    ("value", "text"),
    [(15362.7, "15,363"), (85.25, "85"), (10, "10"), (9.97, "10"), (9.94, "9.9"), (1.9, "1.9"), (0.04, "0.0")],
)
def test_values_are_rounded_for_reading(value, text):
    assert format_value(value) == text


def test_singular_counts(tmp_path):
    svg = compare(tmp_path, [content("numpy_path", n_jobs=1, n_regions=1, n_volumes=1)]).svg
    page = " ".join(svg_texts(svg))
    assert "extracting 1 region by numpy, path from 1 volume of large_fmri (912 MiB), 1 parallel job" in page
    assert "1 parallel jobs" not in page


def test_different_numbers_of_jobs_are_told(tmp_path):
    contents = [content("nifti_masker_path"), content("numpy_path", n_jobs=4), content("shared_memory", n_jobs=1)]
    texts = svg_texts(compare(tmp_path, contents).svg)
    assert any(text.endswith("1 to 6 parallel jobs") for text in texts)
    assert [texts.count(f"({jobs})") for jobs in ("6 jobs", "4 jobs", "1 job")] == [2, 2, 2]


def test_dollar_signs_in_an_image_name_are_no_formula(tmp_path):
    texts = svg_texts(compare(tmp_path, [content("numpy_path")], image="a$b_1$").svg)
    assert any("a$b_1$" in text for text in texts)


# How the figure looks


def summaries_of(n_strategies, **changes):
    names = list(STRATEGIES)[-n_strategies:]
    return [Summary(**content(name, **changes)) for name in names]


LOOKS = {
    "one strategy": summaries_of(1, predicted_mib=110),
    "five strategies": summaries_of(5),
    "all strategies": summaries_of(len(STRATEGIES)),
    "exact predictions": [Summary(**content(n, predicted_mib=MEASURED.get(n, (400,))[0])) for n in STRATEGIES],
    "predictions far above": summaries_of(len(STRATEGIES), predicted_mib=40_000),
    "jobs differ": [Summary(**content(name, n_jobs=jobs)) for jobs, name in enumerate(STRATEGIES, 1)],
    "smallest and largest": [
        Summary(**content("numpy_path", peak_pss_mib=60, peak_rss_mib=61, wall_s=0.2)),
        Summary(**content("numpy_in_memory", peak_pss_mib=14_999, peak_rss_mib=15_000, wall_s=75)),
    ],
    "hundreds of GiB": summaries_of(len(STRATEGIES), peak_pss_mib=188_888, peak_rss_mib=988_888.8, wall_s=86_400),
    "hundreds of GiB, predicted": summaries_of(2, peak_pss_mib=188_888, peak_rss_mib=2e5, predicted_mib=188_888),
    "equal heights": summaries_of(len(STRATEGIES), peak_pss_mib=11_111, peak_rss_mib=11_111, wall_s=9.9),
    "nothing": summaries_of(2, peak_pss_mib=0, peak_rss_mib=0, wall_s=0),
}


@pytest.mark.parametrize("image", ["large_fmri", "sub-01_ses-baseline_task-restingstate_acq-multiband_desc-" * 2])
@pytest.mark.parametrize("look", LOOKS)
def test_texts_lie_inside_the_figure_and_apart(look, image, monkeypatch):
    figure = draw_figure(LOOKS[look], image)
    drawn = []
    draw = matplotlib.text.Text.draw
    monkeypatch.setattr(matplotlib.text.Text, "draw", lambda text, renderer: (drawn.append(text), draw(text, renderer)))
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    texts = {text: text.get_window_extent(renderer) for text in drawn if text.get_visible() and text.get_text()}
    # Each bar has a value, each group a label in both panels; titles, directions, units, legend and ticks come on top.
    assert len(texts) > 5 * len(LOOKS[look])

    for text, box in texts.items():
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
    for (one, its_box), (other, other_box) in combinations(texts.items(), 2):
        assert not its_box.overlaps(other_box), (one, other)

    # Lines too: a value and its prediction are legible together.
    marks = [bar.get_window_extent(renderer) for axes in figure.axes for bar in axes.patches]
    for line in figure.axes[0].lines:
        left, right = line.get_transform().transform(line.get_xydata())
        half = line.get_linewidth() / 2 * figure.dpi / 72
        marks.append(Bbox.from_extents(left[0], left[1] - half, right[0], right[1] + half))
    for text, box in texts.items():
        assert not any(box.overlaps(mark) for mark in marks), f"{text} is covered"


def luminance(colour):
    """Relative luminance as the WCAG define it."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_strategy_has_a_colour_of_its_own():
    hued = list(dict.fromkeys(strategy.family for strategy in STRATEGIES.values()))[: len(SHADES)]
    colours = [strategy_colour(strategy.name) for strategy in STRATEGIES.values() if strategy.family in hued]
    assert len(set(colours)) == len(colours)


def test_the_shades_of_a_family_differ_in_luminance():
    families = {}
    for name, strategy in STRATEGIES.items():
        families.setdefault(strategy.family, []).append(strategy_colour(name))
    assert any(len(shades) > 1 for shades in families.values())
    for shades in families.values():
        for dark, light in pairwise(shades):
            assert contrast(dark, light) > 2
    for dark, light in SHADES:
        assert contrast(dark, light) > 2
        assert contrast(dark, "white") > 3


def test_bars_have_the_colours_and_heights_of_their_strategies():
    summaries = LOOKS["all strategies"]
    memory_axes, time_axes = draw_comparison(summaries, "large_fmri").axes
    pss, rss = memory_axes.containers
    (wall,) = time_axes.containers
    for position, summary in enumerate(summaries):
        colour = to_rgb(strategy_colour(summary.strategy))
        assert pss[position].get_facecolor()[:3] == wall[position].get_facecolor()[:3] == colour
        assert rss[position].get_edgecolor()[:3] == colour
        assert rss[position].get_hatch()
        assert pss[position].get_height() == summary.peak_pss_mib
        assert rss[position].get_height() == summary.peak_rss_mib
        assert wall[position].get_height() == summary.wall_s


def test_a_prediction_is_a_line_across_its_own_bar():
    summaries = [
        Summary(**content("nifti_masker_path", predicted_mib=12_000)),
        Summary(**content("numpy_path")),
        Summary(**content("shared_memory", predicted_mib=2_000)),
    ]
    memory_axes, _ = draw_comparison(summaries, "large_fmri").axes
    pss, _ = memory_axes.containers
    lines = [line for line in memory_axes.lines if to_rgb(line.get_color()) == to_rgb(INK)]
    for line, bar, mib in zip(lines, (pss[0], pss[2]), (12_000, 2_000), strict=True):
        assert list(line.get_xdata()) == [bar.get_x(), bar.get_x() + bar.get_width()]
        assert list(line.get_ydata()) == [mib, mib]


def test_the_only_strategy_is_held_against_the_image(tmp_path):
    figure = draw_figure([Summary(**content("stream", predicted_mib=90))], "large_fmri")
    [axes] = figure.axes
    assert [round(bars[0].get_width(), 2) for bars in axes.containers] == [912.2, 90, 85, 85.25]
    texts = svg_texts(compare(tmp_path, [content("stream")]).svg)
    page = " ".join(texts)
    assert "Memory of extracting 6 regions by stream" in page
    assert "from 857 volumes of large_fmri (912 MiB), 6 parallel jobs, 1.9 s" in page
    assert "the image, uncompressed" in texts
    assert not [text for text in texts if "lower is better" in text or "predicted" in text]


def test_results_of_strategies_that_are_not_compared_are_removed(tmp_path):
    """Files that this project writes, and no others; the concatenated image stays as long as a strategy reads it."""
    written = ["extraction.json", "memory.json", "memory.tsv", "timeseries.tsv", "region-12_timeseries.npy"]
    foreign = [tmp_path / "mmap/notes.txt", tmp_path / "mmap/region-a_timeseries.npy", tmp_path / "masker/memory.json"]
    for path in [*(tmp_path / name / file for name in STRATEGIES for file in written), *foreign]:
        path.parent.mkdir(exist_ok=True)
        path.write_text("old")
    copies = [tmp_path / "scan_bold.nii.gz", tmp_path / "runs.tsv"]
    copies[0].symlink_to(tmp_path / "is gone.nii.gz")
    copies[1].write_text("old")

    def compare(*names):
        for name in names:
            (tmp_path / name / "memory.json").write_text(json.dumps(content(name)))
        paths = [tmp_path / name / "memory.json" for name in names]
        outputs = [tmp_path / f"memory_comparison.{ending}" for ending in ("tsv", "png", "svg")]
        compare_memory(paths, *outputs, "scan")
        made = {path for path in tmp_path.rglob("*") if path.is_symlink() or path.is_file()}
        return made - set(outputs)

    kept = {tmp_path / name / file for name in ("stream", "numpy_path") for file in written}
    assert compare("numpy_path", "stream") == kept | set(foreign) | set(copies)
    assert compare("stream") == {path for path in kept if path.parent.name == "stream"} | set(foreign)
    assert not (tmp_path / "numpy_path").exists()
