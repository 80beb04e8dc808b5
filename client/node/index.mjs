import client from './index.js'

export const {
  InvalidRequest, KeyConflict, MomentusError, NotEnqueued, Producer, SessionConflict, SessionGone, Sessions,
  SessionsUnavailable,
} = client
