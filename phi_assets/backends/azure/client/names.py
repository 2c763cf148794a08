"""The names that infra/main.bicep gives its resources, with its `uniqueString` computed here.

Names must be known before a deployment (are they free, is a deleted vault or workspace retained under one?), and ARM
evaluates `uniqueString` only within a deployment; no SDK offers it. The function joins its values with hyphens, hashes
them to 64 bits (MurmurHash, 32-bit lanes), and writes 13 letters of base 32. The tests compare it with Microsoft's own
engine.
"""

from phi_assets.backends.azure.client.account import AzureAccount

FIRST, SECOND = 0x239B961B, 0xAB0E9789
LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
MASK_32 = 0xFFFFFFFF

# The same prefixes as in the variables `names` of infra/main.bicep and infra/chat.bicep.
PREFIXES = {
    "storage_account": "st",
    "key_vault": "kv-",
    "application_insights": "appi-",
    "log_analytics": "log-",
    "container_registry": "cr",
    "managed_identity": "id-",
    "chat_database": "cosmos-",
    "ml_workspace": "mlw-",
    "chat_environment": "cae-",
    "chat_identity": "id-chat-",
}


def names(account: AzureAccount) -> dict[str, str]:
    """The name of every resource by its asset's name, as a deployment of the account creates it."""
    token = unique_string(account.subscription_id, account.name, account.location)
    return {asset: f"{prefix}{token}" for asset, prefix in PREFIXES.items()}


def unique_string(*values: str) -> str:
    """The result of ARM's template function `uniqueString` for these values."""
    number = _hash("-".join(values).encode())
    letters = ""
    for _ in range(13):
        letters += LETTERS[number >> 59]
        number = (number << 5) & 0xFFFFFFFFFFFFFFFF
    return letters


def _hash(data: bytes) -> int:
    low = high = 0
    whole = len(data) // 8 * 8
    for start in range(0, whole, 8):
        low ^= _mix(int.from_bytes(data[start : start + 4], "little"), FIRST, 15, SECOND)
        low = (_rotated(low, 19) + high) * 5 + 0x561CCD1B & MASK_32
        high ^= _mix(int.from_bytes(data[start + 4 : start + 8], "little"), SECOND, 17, FIRST)
        high = (_rotated(high, 13) + low) * 5 + 0x0BCAA747 & MASK_32
    rest = data[whole:]
    if rest:
        low ^= _mix(int.from_bytes(rest[:4], "little"), FIRST, 15, SECOND)
    if len(rest) > 4:
        high ^= _mix(int.from_bytes(rest[4:], "little"), SECOND, 17, FIRST)
    low, high = low ^ len(data), high ^ len(data)
    low = low + high & MASK_32
    high = high + low & MASK_32
    low, high = _spread(low), _spread(high)
    low = low + high & MASK_32
    high = high + low & MASK_32
    return high << 32 | low


def _mix(word: int, first: int, turn: int, second: int) -> int:
    return _rotated(word * first & MASK_32, turn) * second & MASK_32


def _rotated(word: int, turn: int) -> int:
    return (word << turn | word >> (32 - turn)) & MASK_32


def _spread(word: int) -> int:
    word = (word ^ word >> 16) * 0x85EBCA6B & MASK_32
    word = (word ^ word >> 13) * 0xC2B2AE35 & MASK_32
    return word ^ word >> 16


def endpoint_name(account: AzureAccount) -> str:
    """The endpoint's name, which is part of its URL and must therefore be unique in the region."""
    unique = unique_string(account.subscription_id, account.name, account.location)
    return f"phi-{account.name[:18].rstrip('-')}-{unique[:8]}"


def deployment_name(account: AzureAccount, part: str = "") -> str:
    """The deployment's name, of at most 64 characters. Azure does not accept the same name in another region.

    `part` is "-chat" for that of infra/chat.json.
    """
    return f"phi-{account.name}-{account.location}{part}"
