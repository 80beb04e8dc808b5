'use strict'

// Errors of this package. An error means that the call queued or wrote nothing, unless its class says otherwise.

/** Base class of all errors here. */
class MomentusError extends Error {
  constructor(message, options) {
    super(message, options)
    this.name = new.target.name
  }
}

/** An argument that is invalid; `field` names it. Fix the call. */
class InvalidRequest extends MomentusError {
  constructor(field, reason) {
    super(`${field}: ${reason}`)
    this.field = field
  }
}

/** The key is in use for other content; `knownId` is the id of its job. */
class KeyConflict extends MomentusError {
  constructor(key, knownId) {
    super(`key: ${JSON.stringify(key)} is in use for other content (job ${knownId}); use a key that changes with it`)
    this.knownId = knownId
  }
}

/** Redis did not take the job within the budget. It may or may not be queued: send it again with the same key. */
class NotEnqueued extends MomentusError {}

/** Redis did not reply within the deadline, or not in the sessions' format. */
class SessionsUnavailable extends MomentusError {}

/** Another request saved the session meanwhile; `current` is the session as it is now. */
class SessionConflict extends MomentusError {
  constructor(current) {
    super('session: another request saved it; apply the change to error.current and save that')
    this.current = current
  }
}

/** The session has been logged out, revoked or has expired. */
class SessionGone extends MomentusError {}

module.exports = {
  InvalidRequest, KeyConflict, MomentusError, NotEnqueued, SessionConflict, SessionGone, SessionsUnavailable,
}
