"""Days of the exchanges, written by hand from what they published; times are New York's.

A day is (date, opens, closes, source); None for both when the exchange is closed. An opening with "-" is on the evening
before. Sources marked † are cited from knowledge of the announcement; the others were read while this was written.
"""

NYSE_2015 = "NYSE, holidays and early closings of 2014–2016 and 2015–2017 (wallstreetdiary, daytradingstock-blog)"
NYSE_2018 = "NYSE, holidays and early closings of 2018–2020 (paulmaior.ro, Stock Market And Bank Holidays, 2018-09-03)"
NYSE_2020 = (
    "NYSE Group Announces 2020, 2021 and 2022 Holiday and Early Closings Calendar, 2019-12-09 (mondovisione.com)"
)
NYSE_2021 = (
    "NYSE Group Announces 2021, 2022 and 2023 Holiday and Early Closings Calendar, 2020-12-28 (mondovisione.com)"
)
NYSE_2022 = (
    "NYSE Group Announces 2022, 2023 and 2024 Holiday and Early Closings Calendar, 2021-12-27 (mondovisione.com)"
)
NYSE_2025 = (
    "NYSE Group Announces 2025, 2026 and 2027 Holiday and Early Closings Calendar, 2024-11-08 (mondovisione.com)"
)
BUSH = "NYSE closes for the national day of mourning, December 2018 (inkl.com on both days of mourning)"
CARTER = "marketsmedia.com, Exchanges Honor Jimmy Carter, 2024-12-30"

XNYS_DAYS = [
    ("2015-04-03", None, None, NYSE_2015),  # Good Friday, while CME trades until 09:15
    ("2015-07-02", "09:30", "16:00", NYSE_2015),  # no half day when the holiday is observed on Friday
    ("2015-07-03", None, None, NYSE_2015),  # Independence Day, observed
    ("2015-11-27", "09:30", "13:00", NYSE_2015),
    ("2016-12-26", None, None, NYSE_2015),  # Christmas Day falls on Sunday
    ("2017-01-02", None, None, NYSE_2015),
    ("2017-07-03", "09:30", "13:00", NYSE_2015),
    ("2018-03-12", "09:30", "16:00", NYSE_2018),  # the first Monday of summer time
    ("2018-11-05", "09:30", "16:00", NYSE_2018),  # the first Monday of winter time
    ("2018-12-05", None, None, BUSH),
    ("2018-12-24", "09:30", "13:00", NYSE_2018),
    ("2019-04-19", None, None, NYSE_2018),
    ("2019-07-03", "09:30", "13:00", NYSE_2018),
    ("2020-03-16", "09:30", "16:00", NYSE_2020),  # the breaker halted trading; the session is an ordinary one
    ("2020-07-03", None, None, NYSE_2020),
    ("2020-12-24", "09:30", "13:00", NYSE_2020),
    ("2021-06-18", "09:30", "16:00", NYSE_2021),  # Juneteenth was not yet observed
    ("2021-12-24", None, None, NYSE_2021),  # Christmas Day falls on Saturday
    ("2021-12-31", "09:30", "16:00", NYSE_2021),  # New Year's Day on Saturday is not made up for
    ("2022-06-20", None, None, NYSE_2022),  # the first Juneteenth
    ("2023-07-03", "09:30", "13:00", NYSE_2021),
    ("2023-11-24", "09:30", "13:00", NYSE_2021),
    ("2024-03-29", None, None, NYSE_2022),
    ("2024-07-05", "09:30", "16:00", NYSE_2022),
    ("2025-01-09", None, None, CARTER),
    ("2025-04-18", None, None, NYSE_2025),
    ("2025-07-03", "09:30", "13:00", NYSE_2025),
    ("2025-11-28", "09:30", "13:00", NYSE_2025),
    ("2026-07-03", None, None, NYSE_2025),
    ("2026-11-27", "09:30", "13:00", NYSE_2025),
]

HALT = "16:15-16:30"
GLOBEX_2012 = (
    "CME, Equity Index Later Close for CME Globex Trading Day, November 2012 (elitetrader.com, daytradetowin.com)"
)
GLOBEX_2015 = "atas.net, New changes on CME trading session, September 2015"
GLOBEX_HALT_END = "CME Globex Notices, 2021-06-21 (quoted in issue 477 of pandas_market_calendars)"
GLOBEX_2024 = "CME Group, Globex holiday calendar of 2024 †"
LEAN_HOLIDAYS = "QuantConnect Lean, market-hours-database.json, holidays of Future-cme-[*]"
LEAN = "QuantConnect Lean, market-hours-database.json, early closes of Future-cme-ES"
GOOD_FRIDAY_2015 = "daytradetowin.com, Good Friday 2015 Trading Hours"
GOOD_FRIDAY_2018 = "daytradetowin.com, Is Good Friday (Mar. 30) a Trading Holiday?"
GOOD_FRIDAY_2025 = "Barron's, Here Are the Trading Hours for Good Friday, 2025-04-18"
MOURNING_2018 = "CME Group, press release of 2018-12-02"
MOURNING_2025 = "CME Group, press release of 2024-12-30"
KING_2024 = "forexlive.com on CME's hours, 2024-01-12"
KING_2025 = "forexlive.com on CME's hours, 2025-01-19"
JULY_2024 = "DTN, July 4th 2024 Holiday Exchange Schedule"
MEMORIAL_2024 = "forexlive.com on CME's hours, 2024-05-26"
JUNETEENTH_2024 = "forexlive.com on CME's hours, 2024-06-17"
THANKS_2024 = "forexlive.com on CME's hours, 2024-11-28"

# (date, opens, closes, halt, source)
GLOBEX_DAYS = [
    ("2015-03-09", "-18:00", "17:15", HALT, GLOBEX_2012),  # opened on the Sunday that summer time began
    ("2015-04-03", "-18:00", "09:15", None, GOOD_FRIDAY_2015),  # the employment report came out
    ("2015-09-18", "-18:00", "17:15", HALT, GLOBEX_2012),
    ("2015-09-21", "-18:00", "17:00", HALT, GLOBEX_2015),
    ("2015-11-02", "-18:00", "17:00", HALT, GLOBEX_2015),  # opened on the Sunday that winter time began
    ("2015-11-26", "-18:00", "13:00", None, LEAN),
    ("2015-11-27", "-18:00", "13:15", None, LEAN),
    ("2016-07-04", "-18:00", "13:00", None, LEAN),
    ("2017-07-03", "-18:00", "13:15", None, LEAN),
    ("2018-03-30", None, None, None, GOOD_FRIDAY_2018),
    ("2018-12-05", "-18:00", "09:30", None, MOURNING_2018),
    ("2018-12-24", "-18:00", "13:15", None, LEAN),
    ("2020-11-26", "-18:00", "13:00", None, LEAN),
    ("2021-04-02", "-18:00", "09:15", None, LEAN),  # the employment report came out
    ("2021-06-25", "-18:00", "17:00", HALT, GLOBEX_2015),
    ("2021-06-28", "-18:00", "17:00", None, GLOBEX_HALT_END),
    ("2022-06-20", "-18:00", "13:00", None, LEAN),
    ("2022-12-26", None, None, None, LEAN_HOLIDAYS),  # Christmas Day falls on Sunday
    ("2023-01-02", None, None, None, LEAN_HOLIDAYS),
    ("2023-04-07", "-18:00", "09:15", None, LEAN),  # the employment report came out
    ("2024-01-15", "-18:00", "13:00", None, KING_2024),
    ("2024-03-29", None, None, None, GLOBEX_2024),
    ("2024-05-27", "-18:00", "13:00", None, MEMORIAL_2024),
    ("2024-06-19", "-18:00", "13:00", None, JUNETEENTH_2024),
    ("2024-07-03", "-18:00", "13:15", None, JULY_2024),
    ("2024-07-04", "-18:00", "13:00", None, JULY_2024),
    ("2024-11-28", "-18:00", "13:00", None, THANKS_2024),
    ("2025-01-09", "-18:00", "09:30", None, MOURNING_2025),
    ("2025-01-20", "-18:00", "13:00", None, KING_2025),
    ("2025-04-18", None, None, None, GOOD_FRIDAY_2025),
]
