"""Videos of a page: elements, links to files, and their text tracks."""

from pipeline import Draft, draft
from schemas.document import Candidate, DraftMedium, Text

PROSE = (
    "Every morning in early spring a heron stands below the old weir, so still that few people ever see it, number {}."
)
URL = "https://birds.example/heron.html"


def nodes(body: str, head: str = "<html>") -> list[Text | DraftMedium]:
    """The nodes of an article with prose above and below."""
    around = [f"<p>{' '.join(PROSE.format(n + m) for m in range(4))}</p>" for n in (1, 5)]
    page = draft(f"{head}<body><article>{around[0]}{body}{around[1]}</article></body></html>".encode(), URL)
    assert isinstance(page, Draft)
    return page.nodes


def videos(body: str, head: str = "<html>") -> list[DraftMedium]:
    """Its videos."""
    return [node for node in nodes(body, head) if isinstance(node, DraftMedium) and node.kind == "video"]


def test_tracks_in_the_order_of_use() -> None:
    """Captions in the page's language come first, then the default; chapters and data are no text."""
    tracks = (
        "<track src=fr.vtt srclang=fr kind=captions default><track src=map.vtt kind=chapters><track src=de.vtt srclang=de>"
        "<track src=en.vtt srclang=en-GB kind=subtitles><track kind=metadata src=x.vtt><track kind=descriptions srclang=it src=it.vtt>"
    )
    (video,) = videos(f"<video src=a.mp4>{tracks}</video>", "<html lang=en-US>")
    assert [f"https://birds.example/{name}.vtt" for name in ("en", "fr", "de", "it")] == video.tracks


def test_links_to_files_are_videos() -> None:
    """A link to a video's file in the text is a medium where it stands, titled by its text, which stays text."""
    (video,) = videos(
        '<p>See <a href="/v/heron.webm?x=1">the heron take off</a> at dawn, before the sun stands over the water.</p>'
    )
    assert [Candidate(url="https://birds.example/v/heron.webm?x=1", source="href")] == video.candidates
    assert "the heron take off" == video.title
    text = " ".join(
        node.text
        for node in nodes('<p>See <a href="h.mp4">the heron take off</a> at dawn.</p>')
        if isinstance(node, Text)
    )
    assert "the heron take off" in text


def test_a_player_and_a_link_to_its_file_are_one_video() -> None:
    """The download link below a player adds none."""
    (video,) = videos(
        '<figure><video src="h.mp4" title="Heron"></video></figure><p><a href="h.mp4">Download</a> the film, if you like, and keep it.</p>'
    )
    assert "Heron" == video.title


def test_other_links_are_no_videos() -> None:
    """Pages about videos, players in frames and files of other kinds are none."""
    other = (
        '<p><a href="/watch?v=a.mp4">a</a> <a href="/mp4">b</a> <a href="c.mp4.html">c</a> <a href="d.mp3">d</a></p>'
    )
    assert [] == videos(other + '<iframe src="https://tube.example/embed/1"></iframe>')


HERON = '{"@type": "VideoObject", "contentUrl": "/v/h.mp4", "name": "Heron", "description": "A heron takes off."}'
STATED = f'<html><head><meta property="og:video" content="/v/h.mp4"><script type="application/ld+json">{HERON}</script></head>'


def test_the_metadatas_video_stands_in_where_the_page_shows_none() -> None:
    """With JSON-LD's name and description as its title and caption; not beside a video of the body."""
    (video,) = videos("", STATED)
    assert [Candidate(url="https://birds.example/v/h.mp4", source="og:video")] == video.candidates
    assert (True, "Heron", "A heron takes off.") == (video.fallback, video.title, video.caption)
    (other,) = videos("<figure><video src=/v/other.mp4></video></figure>", STATED)
    assert (False, "", "") == (other.fallback, other.title, other.caption)


def test_json_ld_describes_the_video_that_the_page_shows() -> None:
    """What the page itself says of it goes first."""
    (bare,) = videos("<figure><video src=/v/h.mp4></video></figure>", STATED)
    (own,) = videos("<figure><video src=/v/h.mp4 title=Bird></video><figcaption>Lift-off</figcaption></figure>", STATED)
    assert (False, "Heron", "A heron takes off.") == (bare.fallback, bare.title, bare.caption)
    assert ("Bird", "Lift-off") == (own.title, own.caption)
