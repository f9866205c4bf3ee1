"""Where a header puts an image: as nibabel has it, whatever the codes and the quaternion, and what is odd is told."""

import io

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import AFFINE, GRID, save_run
from roistream.errors import UserError
from roistream.images.header import parse_header
from roistream.images.image import inspect, inspect_volume
from roistream.images.series import open_series
from roistream.images.writing import header_like, write_image

CODES = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 9, -1])
SCALE = st.floats(0.5, 4, width=32)
COMPONENT = st.floats(-0.5625, 0.5625, width=32)
OFFSET = st.floats(-200, 200, width=32)


def header_of(shape=(*GRID, 4), kind=nib.Nifti1Header, **fields):
    header = kind()
    header.set_data_shape(shape)
    header.set_data_dtype(np.int16)
    header["vox_offset"] = header.single_vox_offset
    header.set_sform(AFFINE, 1)
    header.set_qform(AFFINE, 1)
    for name, value in fields.items():
        header[name] = value
    return header


def parsed(header):
    return parse_header(header.binaryblock)


def by_nibabel(header):
    """Read a header as `nibabel.load` does, which puts in order what it does not like."""
    return type(header).from_fileobj(io.BytesIO(header.binaryblock)).get_best_affine()


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from([nib.Nifti1Header, nib.Nifti2Header]),
    n_axes=st.integers(1, 5),
    codes=st.tuples(CODES, CODES),
    steps=st.tuples(*[st.one_of(SCALE, SCALE.map(lambda x: -x), st.just(0.0))] * 3),
    qfac=st.sampled_from([1, -1, 0, 7]),
    vector=st.tuples(COMPONENT, COMPONENT, COMPONENT),
    offset=st.tuples(OFFSET, OFFSET, OFFSET),
)
@pytest.mark.filterwarnings("ignore")
def test_the_affine_is_nibabels(kind, n_axes, codes, steps, qfac, vector, offset):
    header = header_of((7, 6, 5, 4, 1)[:n_axes], kind, qform_code=codes[0], sform_code=codes[1])
    header["pixdim"][:4] = qfac, *steps
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = vector
    header["qoffset_x"], header["qoffset_y"], header["qoffset_z"] = offset
    found = parsed(header)
    assert np.allclose(found.affine, by_nibabel(header), rtol=1e-12, atol=1e-12)
    known = [0 < code <= 5 for code in codes]
    assert found.oriented == any(known)
    assert any("no orientation code" in remark for remark in found.remarks) == (not any(known))
    unknown = [code for code in codes if not 0 <= code <= 5]
    assert [remark.split()[1] for remark in found.remarks if "none that the standard knows" in remark] == [
        str(code) for code in unknown
    ]


@settings(max_examples=100, deadline=None)
@given(axis=st.sampled_from("xyz"), degrees=st.floats(-180, 180), steps=st.tuples(SCALE, SCALE, SCALE), offset=OFFSET)
def test_rounding_of_a_quaternion_is_no_contradiction(axis, degrees, steps, offset):
    """Near half a turn it puts corners off by more than a tenth of a voxel; that is no reason to warn of a sound file."""
    turn = dict.fromkeys("zyx", 0.0) | {axis: np.radians(degrees)}
    affine = nib.affines.from_matvec(nib.eulerangles.euler2mat(*turn.values()) @ np.diag(steps), [offset] * 3)
    header = header_of((256, 256, 200))
    header.set_sform(affine, 1)
    header.set_qform(affine, 1)
    assert parsed(header).remarks == ()


@pytest.mark.parametrize("shift", [0.02, 3.0])
def test_a_contradiction_is_told_and_the_sform_used(shift):
    other = AFFINE.copy()
    other[1, 3] += 3 * shift
    header = header_of()
    header.set_qform(other, 1)
    found = parsed(header)
    assert np.array_equal(found.affine, AFFINE)
    [remark] = found.remarks
    assert "qform" in remark
    assert f"{shift:.3g} voxels" in remark


@pytest.mark.parametrize("kind", [nib.Nifti1Header, nib.Nifti2Header])
@pytest.mark.parametrize(("excess", "told"), [(1e-7, False), (1e-4, True), (1e-3, True)])
def test_a_quaternion_too_long_by_rounding_is_half_a_turn(kind, excess, told):
    b = np.sqrt((1 + excess) / 2)
    header = header_of(kind=kind, sform_code=0, quatern_b=b, quatern_c=b, quatern_d=0)
    header["pixdim"][0] = 1
    found = parsed(header)
    exact = np.array([[0, 3, 0], [3, 0, 0], [0, 0, -3]])
    assert np.allclose(found.affine[:3, :3], exact, atol=1e-6)
    assert bool(found.remarks) == (told or kind is nib.Nifti2Header)


@pytest.mark.parametrize(
    ("units", "told"),
    [(0, None), (2 | 8, None), (1 | 8, "metres"), (3 | 16, "micrometres"), (5, "the unit 5, which is none")],
)
def test_lengths_in_other_units_are_told(units, told):
    """They are taken as mm, which is what nibabel does, and nearly always true."""
    found = parsed(header_of(xyzt_units=units))
    assert np.array_equal(found.affine, AFFINE)
    assert [told is not None and told in remark for remark in found.remarks] == [True] * (told is not None)


def test_a_quaternion_that_is_none_is_refused_where_it_is_needed(tmp_path):
    run = save_run(tmp_path / "run.nii", np.zeros((*GRID, 4), np.int16))
    content = bytearray(run.read_bytes())
    broken = header_of(quatern_b=0.9, quatern_c=0.9, quatern_d=0.9)
    content[252:254], content[256:268] = broken.binaryblock[252:254], broken.binaryblock[256:268]
    run.write_bytes(content)
    assert "qform cannot be followed" in " ".join(inspect(run).remarks)
    content[254:256] = bytes(2)
    run.write_bytes(content)
    with pytest.raises(UserError, match=r"run\.nii cannot be read as an image: its quaternion .* is no rotation"):
        inspect(run)


@settings(max_examples=60, deadline=None)
@given(
    codes=st.tuples(CODES, CODES),
    vector=st.sampled_from([(0, 0, 0), (0, 1.0003, 0), (0.7072, 0.7072, 0), (0.1, -0.2, 0.3)]),
    n_volumes=st.sampled_from([3, 40_000]),
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_written_lies_where_the_model_lies(tmp_path_factory, codes, vector, n_volumes):
    """… for nibabel, too, and for us; a long image becomes NIfTI-2."""
    folder = tmp_path_factory.mktemp("w")
    run = save_run(folder / "run.nii", np.zeros((1, 2, 1, 4), np.int16))
    header = nib.load(run).header
    header["qform_code"], header["sform_code"] = codes
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = vector
    header["vox_offset"] = 352
    run.write_bytes(header.binaryblock + run.read_bytes()[348:])
    model = inspect(run)
    header = header_like(model, n_volumes, np.dtype("<i2"))
    write_image(folder / "copy.nii", header, [np.zeros((n_volumes, 2), "<i2")])
    assert np.allclose(inspect(folder / "copy.nii").affine, model.affine, atol=1e-5)
    assert np.allclose(nib.load(folder / "copy.nii").affine, model.affine, atol=1e-5)
    assert inspect(folder / "copy.nii").oriented == model.oriented


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38, 1e-30, 0.0])
@pytest.mark.parametrize("grid_wide", [False, True])
def test_an_affine_beyond_all_measure_is_refused(tmp_path, value, grid_wide):
    run = save_run(tmp_path / "run.nii", np.zeros((*GRID, 4), np.int16))
    content = bytearray(run.read_bytes())
    affine = AFFINE.copy()
    affine[:3, :3] = value if grid_wide else np.diag([value, 3, 3])
    content[280:328] = affine[:3].astype("<f4").tobytes()
    run.write_bytes(content)
    with pytest.raises(UserError, match="affine that maps no volume"):
        inspect(run)


def test_one_sentence_for_many_files(tmp_path):
    paths = []
    for number in range(3):
        image = nib.Nifti1Image(np.zeros(GRID, np.int16), AFFINE)
        image.header["sform_code"] = image.header["qform_code"] = 0
        image.header["vox_offset"] = 352
        paths.append(tmp_path / f"volume-{number}.nii")
        paths[-1].write_bytes(image.header.binaryblock + bytes(4) + bytes(2 * np.prod(GRID)))
    assert not inspect_volume(paths[0]).oriented
    [remark] = open_series(paths).remarks
    assert "volume-0.nii and 2 other file(s): has no orientation code" in remark
