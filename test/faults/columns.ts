/**
 * The columns of the fault matrix: a request of every route. It can be a line with `ledger.send`, or a function in requests.ts
 * or lifecycle-requests.ts that checks invariants of its own.
 */

import type { Fixtures } from './fixtures.ts'
import type { Ledger } from './ledger.ts'
import {
  changeAddress,
  changePassword,
  endOtherSessions,
  endSession,
  listSessions,
  readAccount,
  requestReset,
  requestVerification,
  resetPassword,
  verifyAddress
} from './lifecycle-requests.ts'
import { deleteAccount, logIn, logOut, register, validate, wrongPassword } from './requests.ts'

interface Column {
  route: string
  send(ledger: Ledger, fixtures: Fixtures): Promise<{ status: number }>
}

export const columns = {
  'POST /reg': { route: 'POST /reg', send: (ledger) => register(ledger) },
  'POST /auth': { route: 'POST /auth', send: (ledger, { account }) => logIn(ledger, account) },
  'wrong password': { route: 'POST /auth', send: (ledger, { account }) => logIn(ledger, account, wrongPassword) },
  'GET /session': { route: 'GET /session', send: (ledger, { session }) => validate(ledger, session) },
  'ended session': { route: 'GET /session', send: (ledger, { ended }) => validate(ledger, ended) },
  'DELETE /logout': { route: 'DELETE /logout', send: (ledger, { toLogOut }) => logOut(ledger, toLogOut) },
  'DELETE /delete': { route: 'DELETE /delete', send: (ledger, { toDelete }) => deleteAccount(ledger, toDelete) },
  'GET /account': { route: 'GET /account', send: (ledger, { session }) => readAccount(ledger, session) },
  'PUT /password': {
    route: 'PUT /password',
    send: (ledger, { toChangePassword: account }) => changePassword(ledger, account)
  },
  'POST /password/reset': {
    route: 'POST /password/reset',
    send: (ledger, { account }) => requestReset(ledger, account)
  },
  'PUT /password/reset': {
    route: 'PUT /password/reset',
    send: (ledger, { toReset }) => resetPassword(ledger, toReset)
  },
  'PUT /email': { route: 'PUT /email', send: (ledger, { toChangeAddress }) => changeAddress(ledger, toChangeAddress) },
  'POST /email/verification': {
    route: 'POST /email/verification',
    send: (ledger, { session }) => requestVerification(ledger, session)
  },
  'PUT /email/verification': {
    route: 'PUT /email/verification',
    send: (ledger, { toVerify }) => verifyAddress(ledger, toVerify)
  },
  'GET /sessions': { route: 'GET /sessions', send: (ledger, { session }) => listSessions(ledger, session) },
  'DELETE /sessions': {
    route: 'DELETE /sessions',
    send: (ledger, { toEndOthers }) => endOtherSessions(ledger, toEndOthers)
  },
  'DELETE /sessions/{id}': {
    route: 'DELETE /sessions/{id}',
    send: (ledger, { session, toEndById }) => endSession(ledger, session, toEndById)
  }
} as const satisfies Record<string, Column>
export type ProbeName = keyof typeof columns
export const probeNames = Object.keys(columns) as ProbeName[]
