"""A picture's columns in the media table."""

from pipeline.images.picture import Picture


def media_columns(picture: Picture) -> dict[str, object]:
    """What the media table holds of a picture that is stored: its form, sizes, measures and hashes; null where a hash was not wanted."""
    return {
        "extension": picture.extension,
        "width": picture.width,
        "height": picture.height,
        "source_width": picture.source_width,
        "source_height": picture.source_height,
        "spread": picture.colour_spread,
        "sharpness": picture.sharpness,
        "text_share": picture.text_share,
        "sha256": bytes.fromhex(picture.sha256),
        "source_sha256": bytes.fromhex(picture.source_sha256),
        "source_md5": bytes.fromhex(picture.source_md5) or None,
        "phash": bytes.fromhex(picture.phash) or None,
        "dhash": bytes.fromhex(picture.dhash) or None,
        "colour": bytes.fromhex(picture.colour) or None,
        "pdq": bytes.fromhex(picture.pdq) or None,
        "bytes": len(picture.data),
    }
