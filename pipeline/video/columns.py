"""A clip's columns in the media table."""

from pipeline.video.cut import Clip


def clip_columns(clip: Clip) -> dict[str, object]:
    """What the media table holds of a clip that is stored: its form, sizes, times and hashes."""
    return {
        "extension": clip.extension,
        "width": clip.width,
        "height": clip.height,
        "source_width": clip.source_width,
        "source_height": clip.source_height,
        "start_s": clip.start_s,
        "duration_s": clip.duration_s,
        "fps": clip.fps,
        "sha256": bytes.fromhex(clip.sha256),
        "source_sha256": bytes.fromhex(clip.source_sha256),
        "phash": bytes.fromhex(clip.phash),
        "bytes": len(clip.data),
    }
