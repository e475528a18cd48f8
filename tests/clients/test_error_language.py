"""Errors of every door in the language that ``Accept-Language`` wants; silence means English."""

from tests.support.server import Server

HELLO = [{"role": "user", "content": "Hello!"}]


def test_an_error_speaks_the_language_that_is_asked_for(server: Server) -> None:
    paths = {
        "/api/v1/chat/completions": "模型 'nothing'",
        "/api/v1/rerank": "模型 'nothing'",
        "/api/v1/models/nothing": "模型 'nothing'",
        "/api/v1/videos/nothing": "没有视频 'nothing'",
        "/api/v1/video/generations/nothing": "没有视频 'nothing'",
        "/api/v1/nothing": "'/api/v1/nothing' 处没有任何内容",
        "/api/manage/v1/keys": "管理 API 只接受以 tm_adm_ 开头的密钥。",
    }
    bodies = {
        "/api/v1/chat/completions": {"model": "nothing", "messages": HELLO},
        "/api/v1/rerank": {"model": "nothing", "query": "q", "documents": ["d"]},
    }
    languages = ({}, {"Accept-Language": "zh-CN,zh;q=0.9"}, {"Accept-Language": "en,zh;q=0.1"})
    for path, expected in paths.items():
        body = bodies.get(path)
        silent, chinese, english = (
            server.call("GET" if body is None else "POST", path, body, headers=headers)
            for headers in languages
        )
        error = chinese.json["error"]
        assert expected in error["message"]
        assert "/zh/docs/errors#" in error["docs_url"]
        assert chinese.headers["content-language"] == "zh-CN"
        for answer in (silent, english):
            assert answer.json["error"]["message"].isascii()
            assert "/en/docs/errors#" in answer.json["error"]["docs_url"]
            assert answer.headers["content-language"] == "en"
            assert answer.headers["vary"] == "accept-language"
        for member in ("type", "code", "param", "fault", "retryable"):
            assert error[member] == silent.json["error"][member]
        told = {"/api/v1/rerank": "detail", "/api/v1/video/generations/nothing": "message"}
        if path in told:
            assert chinese.json[told[path]] == error["message"]
