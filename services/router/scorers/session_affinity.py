"""One endpoint per session, without a table of sessions."""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from services.router.candidates import Candidates, Floats, RequestView
from services.router.plugins import scorer


@scorer("session-affinity", "affinity")
@dataclass(frozen=True, slots=True)
class SessionAffinity:
    """Rendezvous hashing (Thaler and Ravishankar, 1998) of session and endpoint.

    Every router replica finds the same endpoint, and only the sessions of an endpoint that leaves
    move. Without a session everybody scores 1.
    """

    def __call__(self, request: RequestView, candidates: Candidates) -> Floats:
        """1 for the session's endpoint, 0 for the others."""
        if not request.session_id:
            return np.ones(len(candidates))
        session = blake2b(request.session_id.encode() + b"\0", digest_size=8)
        ranks = []
        for endpoint_id in candidates.endpoint_ids:
            pair = session.copy()
            pair.update(endpoint_id.encode())
            ranks.append(pair.digest())
        scores = np.zeros(len(candidates))
        scores[ranks.index(max(ranks))] = 1
        return scores
