"""The live page: one file, which asks for nothing from elsewhere, and whose script its policy lets run."""

import base64
import hashlib
import re


async def test_the_page_is_whole_and_its_policy_lets_its_own_script_run(http):
    answer = await http.get("/live")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert f"script-src 'sha256-{digest}' blob:" in policy
    assert "default-src 'none'" in policy
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)|https?://|@import|url\(""", answer.text)
    assert not re.findall(r"\son\w+=", answer.text.partition("<script>")[0])
