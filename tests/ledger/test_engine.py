"""The engine: what every connection to a database is made with."""

from __future__ import annotations

from ledger.engine import connect


def said_to_the_server(url: str) -> dict[str, str]:
    engine = connect(url)
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        found: dict[str, str] = driver.info.get_parameters()
    engine.dispose()
    return found


def test_a_server_that_is_gone_without_a_word_is_noticed_unless_the_url_says_when(postgres_url: str):
    said = said_to_the_server(postgres_url)
    assert (said["keepalives_idle"], said["tcp_user_timeout"]) == ("30", "30000")
    mark = "&" if "?" in postgres_url else "?"
    said = said_to_the_server(f"{postgres_url}{mark}keepalives_idle=7")
    assert (said["keepalives_idle"], said["tcp_user_timeout"]) == ("7", "30000")
