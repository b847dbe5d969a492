"""The files of a container's service are found on this machine."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from rushhour.stack.compose_service.sources import Sources
from rushhour.stack.compose_service.user_file import Bind


class Inside:
    """The files of a container, and how often they were read."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []

    def read(self, file: str) -> bytes | None:
        self.asked.append(file)
        return self.files.get(file)


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_mounted_file_is_the_local_one_whatever_it_holds(tmp_path: Path) -> None:
    put(tmp_path / "src" / "shop.py", "new")
    put(tmp_path / "lib" / "db.py", "x")
    binds = [
        Bind(tmp_path / "src", PurePosixPath("/srv")),
        Bind(tmp_path / "lib", PurePosixPath("/srv/lib")),
    ]
    inside = Inside({"/srv/shop.py": b"old"})
    sources = Sources(tmp_path, binds, [], inside.read)
    assert sources.local("/srv/shop.py") == "src/shop.py"
    assert sources.local("/srv/lib/db.py") == "lib/db.py"  # the innermost mount
    assert inside.asked == []


def test_a_copied_file_is_found_by_the_end_of_its_path(tmp_path: Path) -> None:
    put(tmp_path / "shop" / "views.py", "views")
    put(tmp_path / "other" / "views.py", "views")
    inside = Inside({"/srv/shop/views.py": b"views"})
    sources = Sources(tmp_path, [], [tmp_path], inside.read)
    assert sources.local("/srv/shop/views.py") == "shop/views.py"
    assert sources.local("/srv/shop/views.py") == "shop/views.py"
    assert inside.asked == ["/srv/shop/views.py"]  # once


def test_a_copied_file_is_found_in_another_folder_by_name_and_content(tmp_path: Path) -> None:
    put(tmp_path / "a" / "shop" / "db.py", "one")
    put(tmp_path / "b" / "deep" / "db.py", "one")
    put(tmp_path / "c" / "db.py", "two")
    put(tmp_path / ".venv" / "db.py", "two")
    inside = Inside({"/opt/shop/db.py": b"one", "/opt/db.py": b"two"})
    sources = Sources(tmp_path, [], [tmp_path], inside.read)
    assert sources.local("/opt/shop/db.py") == "a/shop/db.py"  # more of its folders have the same names
    assert sources.local("/opt/db.py") == "c/db.py"


def test_another_version_of_a_file_is_not_taken_for_it(tmp_path: Path) -> None:
    put(tmp_path / "shop.py", "today's")
    sources = Sources(tmp_path, [], [tmp_path], Inside({"/srv/shop.py": b"last week's"}).read)
    assert sources.local("/srv/shop.py") == "/srv/shop.py"


def test_a_file_outside_of_the_root_keeps_the_containers_path(tmp_path: Path) -> None:
    put(tmp_path / "backend" / "shop.py", "x")
    root = tmp_path / "load"
    root.mkdir()
    sources = Sources(root, [], [tmp_path / "backend"], Inside({"/srv/shop.py": b"x"}).read)
    assert sources.local("/srv/shop.py") == "/srv/shop.py"
    assert sources.local("<unknown>") == "<unknown>"
