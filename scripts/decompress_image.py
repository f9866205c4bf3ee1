"""Make the uncompressed copy of an image that memory mapping needs, without loading it."""

from pathlib import Path

from roistream.images.image import inspect
from roistream.images.progress import progress
from roistream.images.volumes import read_stored
from roistream.images.writing import header_like, write_image
from roistream.reporting import reporting


def decompress_image(compressed: Path, plain: Path) -> None:
    """Write the same image without compression: same stored values, type and scaling.

    Parameters
    ----------
    compressed : path
        4D image, ``.nii.gz``.
    plain : path
        The ``.nii`` to write.

    Raises
    ------
    UserError
        The image is unreadable.
    """
    source = inspect(compressed)
    layout = source.layout
    header = header_like(source, layout.n_volumes, layout.raw_dtype, layout.slope, layout.inter)
    write_image(plain, header, (block.values for block in progress(read_stored(source), source, "decompressing")))


if __name__ == "__main__":
    with reporting(snakemake.log[0]):
        decompress_image(compressed=Path(snakemake.input.image), plain=Path(snakemake.output.image))
