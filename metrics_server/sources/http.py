"""One bounded GET: a body of at most so many bytes within so many seconds, or a ReadError."""

from collections.abc import Mapping

import aiohttp

from metrics_server.sources.counts import ReadError

__all__ = ["MOST_BYTES", "get"]

# 3.10 with 20,000 queues answers 14 MB.
MOST_BYTES = 64 * 2**20
# To compress an answer costs the broker as much as to make it.
PLAIN = {"accept-encoding": "identity"}


async def get(
    session: aiohttp.ClientSession,
    url: str,
    parameters: Mapping[str, str] | list[tuple[str, str]],
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Return the body of a 200. Redirects are not followed. Raises ReadError."""
    try:
        async with session.get(
            url,
            params=parameters,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            allow_redirects=False,
            headers={**PLAIN, **(headers or {})},
        ) as answer:
            if answer.status != 200:
                raise ReadError("status", f"status {answer.status}")
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > MOST_BYTES:
                    raise ReadError("size", f"more than {MOST_BYTES // 2**20} MiB")
            return bytes(body)
    except TimeoutError:
        raise ReadError("timeout", f"no answer within {timeout_s:g} s") from None
    except aiohttp.ClientConnectorCertificateError as error:
        raise ReadError("certificate", f"its certificate is refused: {error.certificate_error}") from None
    except (aiohttp.ClientError, OSError) as error:
        raise ReadError("connection", type(error).__name__) from None
