"""A reader who opens the stream after the answer is finished still hears all of it."""

from __future__ import annotations

import re
from contextlib import closing

from appliance_desk import Room, chats_of, until

from appliance.chat.models import Message


def test_a_finished_answer_is_streamed_whole_to_a_late_reader(django_room: Room) -> None:
    with closing(django_room.browser_session("alice")) as browser:
        token = browser.cookies["reading_room_csrf"]
        form = {"text": "How often must ward areas be cleaned under the Halvern agreement?", "effort": "medium"}
        asked = browser.post(
            "/chat/ask", data=form | {"csrfmiddlewaretoken": token}, headers={"Referer": str(browser.base_url)}
        )
        assert asked.status_code == 303
        conversation = asked.headers["Location"].rsplit("/", 1)[-1].split("#")[0]
        with chats_of("alice"):
            answer = until(
                lambda: Message.objects.filter(conversation=conversation, role="assistant", status="finished").first()
            )
        stream = browser.get(f"/chat/answers/{answer.pk}/stream").text
        events = re.findall(r"^event: (\w+)$", stream, re.MULTILINE)
        assert events[-1] == "done" and events.count("done") == 1
        assert "sentence" in events
        assert re.search(r"^data: .* Source \d+\.$", stream, re.MULTILINE)
