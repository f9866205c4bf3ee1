"""Make the uncompressed copy of an image that memory mapping needs, without loading it."""

from pathlib import Path

from roistream.progress import progress
from roistream.reporting import reporting
from roistream.volumes import header_like, inspect, read_stored, write_image


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
