"""What the gateway writes beside its error codes."""

from __future__ import annotations

from collections.abc import Mapping

_SERVICE = "Historical Market Data Service error message:"
_NOT_SUBSCRIBED = "Requested market data is not subscribed."
ERROR_TEXTS: Mapping[int, str] = {
    100: "Max rate of messages per second has been exceeded:max=50 rec=51 (1)",
    101: "Max number of tickers has been reached",
    102: "Duplicate ticker ID",
    103: "Duplicate order id",
    104: "Can't modify a filled order.",
    162: f"{_SERVICE}HMDS connection attempt failed. Connection will be re-attempted.",
    165: "Historical Market Data Service query message:HMDS server disconnect occurred. Attempting reconnection...",
    200: "No security definition has been found for the request",
    300: "Can't find EId with tickerId",
    309: "Max number (3) of market depth requests has been reached",
    316: "Market depth data has been HALTED. Please re-subscribe.",
    317: "Market depth data has been RESET. Please empty deep book contents before applying any new entries.",
    320: "Error reading request.",
    321: "Error validating request.",
    322: "Error processing request.",
    326: "Unable to connect as the client id is already in use. Retry with a unique client id.",
    354: f"{_NOT_SUBSCRIBED} Displaying delayed market data is not enabled.",
    366: "No historical data query found for ticker id",
    420: "Invalid real-time query.",
    430: "The fundamentals data for the security specified is not available.",
    434: "The order size cannot be zero.",
    502: "Couldn't connect to TWS. Confirm that API is enabled in TWS via the Configure>API menu command.",
    503: "The TWS is out of date and must be upgraded.",
    504: "Not connected",
    507: "Bad Message Length",
    1100: "Connectivity between IB and Trader Workstation has been lost.",
    1101: "Connectivity between IB and Trader Workstation has been restored - data lost.",
    1102: "Connectivity between IB and Trader Workstation has been restored - data maintained.",
    1300: "TWS socket port has been reset and this connection is being dropped. Please reconnect on the new port",
    2103: "Market data farm connection is broken:usfarm",
    2104: "Market data farm connection is OK:usfarm",
    2105: "HMDS data farm connection is broken:ushmds",
    2106: "HMDS data farm connection is OK:ushmds",
    2107: "HMDS data farm connection is inactive but should be available upon demand.ushmds",
    2108: "Market data farm connection is inactive but should be available upon demand.usfarm",
    2110: "Connectivity between Trader Workstation and server is broken. It will be restored automatically.",
    2119: "Market data farm is connecting:usfarm",
    2157: "Sec-def data farm connection is broken:secdefil",
    2158: "Sec-def data farm connection is OK:secdefil",
    10089: "Requested market data requires additional subscription for API. Delayed market data is available.",
    10090: "Part of requested market data is not subscribed. Subscription-independent ticks are still active.",
    10091: "Part of requested market data requires additional subscription for API. Delayed data is available.",
    10147: "OrderId 1 that needs to be cancelled is not found.",
    10167: f"{_NOT_SUBSCRIBED} Displaying delayed market data.",
    10168: f"{_NOT_SUBSCRIBED} Delayed market data is not enabled.",
    10182: "Failed to request live updates (disconnected).",
    10186: f"{_NOT_SUBSCRIBED} Delayed market data is not enabled",
    10187: "Failed to request historical ticks:No market data permissions",
    10189: "Failed to request tick-by-tick data:No market data permissions",
    10190: "Max number of tick-by-tick requests has been reached.",
    10197: "No market data during competing live session",
    10225: "Bust event occurred, current subscription is deactivated. Please resubscribe real-time bars immediately.",
}


def error_text(code: int) -> str:
    """The gateway's text for a code; of one that is not known here, the number."""
    return ERROR_TEXTS.get(code, f"Error {code}")
