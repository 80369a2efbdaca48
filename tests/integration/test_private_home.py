"""The files of a fleet's home are for the user who runs it alone."""


def test_no_other_account_can_read_or_list_a_home(fleet, http):
    uploaded = http.post("/v1/files", files={"file": ("a.txt", b"private")}, data={"purpose": "assistants"})
    assert uploaded.status_code == 200
    inside = sorted(fleet.home.rglob("*"))
    assert {"fleet.json", "gateway.log", "supervisor.log"} <= {path.name for path in inside}
    assert any(path.is_file() and path.read_bytes() == b"private" for path in inside)
    assert fleet.home.stat().st_mode & 0o077 in (0, 0o011)  # the account of Postgres may pass through
    shared = {str(path.relative_to(fleet.home)): oct(path.lstat().st_mode & 0o777) for path in inside}
    assert {path: mode for path, mode in shared.items() if int(mode, 8) & 0o077} == {}
