"""docs/compatibility.md is what the names of the tests say."""

import compatibility


def test_the_page_is_up_to_date():
    assert compatibility.PAGE.read_text() == compatibility.page(), (
        "run `python scripts/compatibility.py`"
    )


def test_every_refusal_has_a_reason_and_every_name_reads_as_a_situation():
    found = list(compatibility.situations())
    assert len(found) > 150
    for situation in found:
        assert len(situation.name.split()) >= 2, situation
        assert not situation.reason or len(situation.reason.split()) >= 2, situation
    assert any(s.reason for s in found)
