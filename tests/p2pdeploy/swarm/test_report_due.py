"""A host that asks for nothing is heard all the same, in time and not more often than needed."""

from __future__ import annotations

from p2pdeploy.swarm.deal_terms import DealConfig
from p2pdeploy.swarm.fetch_terms import FetchConfig
from p2pdeploy.swarm.report_due import ReportDue


def report_due() -> ReportDue:
    return ReportDue(heard_s=5.0, confirm_s=0.5, now=100.0)


def test_who_asks_for_nothing_is_due_after_a_while_and_again_after_the_report() -> None:
    due = report_due()
    assert due.at == 105.0
    due.note_asked(105.0)
    assert due.at == 110.0


def test_who_asks_by_itself_owes_no_report() -> None:
    due = report_due()
    due.note_asked(104.9)
    assert due.at > 109


def test_what_is_stored_is_due_soon_counted_from_the_first_piece() -> None:
    due = report_due()
    due.note_stored(101.0)
    due.note_stored(101.4)
    assert due.at == 101.5


def test_a_request_tells_of_all_that_is_stored() -> None:
    due = report_due()
    due.note_stored(101.0)
    due.note_asked(101.2)
    assert due.at == 106.2


def test_one_lost_report_makes_nobody_look_dead_and_no_deal_time_out() -> None:
    fetch, deal = FetchConfig(), DealConfig()
    assert 2 * (fetch.heard_s + fetch.confirm_s) <= deal.silent_s
    assert 2 * 2 * fetch.confirm_s <= deal.timeout_min_s
