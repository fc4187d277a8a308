/**
 * The permitted response of every route under every fault.
 *
 * Each fault has a row for the responses right after the fault (`at once`) and a row for the responses after the services
 * have detected it (`then`). A cell names the permitted statuses and the permitted time: `fast`, or the `budget` of the
 * route. `up` is the value of `dependency_up` in the services that call the target. The two tables have the same rows.
 */

/** Registration, login, validation, logout and deletion. */
export const sessionTable = `
                             | up | POST /reg      | POST /auth     | wrong password | GET /session   | ended session  | DELETE /logout | DELETE /delete
postgres
  absent at start | at once  |    | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 204 fast       | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 204 fast       | 503 fast
  killed          | at once  |    | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 204 fast       | 503,504 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 204 fast       | 503 fast
  frozen          | at once  |    | 504 budget     | 504 budget     | 504 budget     | 200 fast       | 401 fast       | 204 fast       | 504 budget
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 204 fast       | 503 fast
  slow            | at once  |    | 201 budget     | 200 budget     | 401 budget     | 200 fast       | 401 fast       | 204 fast       | 204 budget
                  | then     | 1  | 201 budget     | 200 budget     | 401 budget     | 200 fast       | 401 fast       | 204 fast       | 204 budget
  resetting       | at once  |    | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 204 fast       | 503,504 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 204 fast       | 503 fast
  back and empty  | then     | 1  | 201 fast       | 401 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
redis
  absent at start | at once  |    | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
  killed          | at once  |    | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503,504 fast   | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
  frozen          | at once  |    | 503,504 budget | 503,504 budget | 401,503 budget | 503 budget     | 503 budget     | 503,504 budget | 503 budget
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
  slow            | at once  |    | 201 budget     | 200 budget     | 401 fast       | 200 budget     | 401 budget     | 204 budget     | 204 budget
                  | then     | 1  | 201 budget     | 200 budget     | 401 fast       | 200 budget     | 401 budget     | 204 budget     | 204 budget
  resetting       | at once  |    | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503,504 fast   | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
  back and empty  | then     | 1  | 201 fast       | 200 fast       | 401 fast       | 401 fast       | 401 fast       | 204 fast       | 401 fast
kafka
  absent at start | at once  |    | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
                  | then     | 0  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
  killed          | at once  |    | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
                  | then     | 0  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
  frozen          | at once  |    | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
                  | then     | 0  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
  slow            | at once  |    | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
                  | then     | 1  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
  resetting       | at once  |    | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
                  | then     | 0  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
  back and empty  | then     | 1  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
user-svc
  absent at start | at once  |    | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 503 fast       | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 503 fast       | 503 fast
  killed          | at once  |    | 503,504 fast   | 503,504 fast   | 503,504 fast   | 200 fast       | 401 fast       | 503,504 fast   | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 503 fast       | 503 fast
  frozen          | at once  |    | 503,504 budget | 503,504 budget | 503,504 budget | 200 fast       | 401 fast       | 503,504 budget | 503,504 budget
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 200 fast       | 401 fast       | 503 fast       | 503 fast
  slow            | at once  |    | 201 budget     | 200 budget     | 401 budget     | 200 fast       | 401 fast       | 204 budget     | 204 budget
                  | then     | 1  | 201 budget     | 200 budget     | 401 budget     | 200 fast       | 401 fast       | 204 budget     | 204 budget
  resetting       | at once  |    | 503,504 fast   | 503,504 fast   | 503,504 fast   | 200 fast       | 401 fast       | 503,504 fast   | 503,504 fast
                  | then     | 0  | 503,504 fast   | 503,504 fast   | 503,504 fast   | 200 fast       | 401 fast       | 503,504 fast   | 503,504 fast
  back and empty  | then     | 1  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
session-svc
  absent at start | at once  |    | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
  killed          | at once  |    | 503,504 fast   | 503,504 fast   | 503,504 fast   | 503 fast       | 503 fast       | 503,504 fast   | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
  frozen          | at once  |    | 503,504 budget | 503,504 budget | 503,504 budget | 503 budget     | 503 budget     | 503,504 budget | 503 budget
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast       | 503 fast
  slow            | at once  |    | 201 budget     | 200 budget     | 401 budget     | 200 budget     | 401 budget     | 204 budget     | 204 budget
                  | then     | 1  | 201 budget     | 200 budget     | 401 budget     | 200 budget     | 401 budget     | 204 budget     | 204 budget
  resetting       | at once  |    | 503,504 fast   | 503,504 fast   | 503,504 fast   | 503 fast       | 503 fast       | 503,504 fast   | 503 fast
                  | then     | 0  | 503,504 fast   | 503,504 fast   | 503,504 fast   | 503 fast       | 503 fast       | 503,504 fast   | 503 fast
  back and empty  | then     | 1  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
mail
  absent at start | at once  |    | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
                  | then     | 0  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
  killed          | at once  |    | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
                  | then     | 0  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
  frozen          | at once  |    | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
                  | then     | 0  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
  slow            | at once  |    | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
                  | then     | 1  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
  resetting       | at once  |    | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
                  | then     | 0  | 201 fast       | 200 fast       | 401 fast       | 200 fast       | 401 fast       | 204 fast       | 204 fast
`

/** The routes of an existing account. */
export const accountTable = `
                             | up | GET /account   | PUT /password  | POST /password/reset | PUT /password/reset | PUT /email     | POST /email/verification | PUT /email/verification | GET /sessions  | DELETE /sessions | DELETE /sessions/{id}
postgres
  absent at start | at once  |    | 503 fast       | 503 fast       | 503 fast             | 503 fast            | 503 fast       | 503 fast                 | 503 fast                | 200 fast       | 503 fast         | 204 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast             | 503 fast            | 503 fast       | 503 fast                 | 503 fast                | 200 fast       | 503 fast         | 204 fast
  killed          | at once  |    | 503,504 fast   | 503,504 fast   | 503,504 fast         | 503,504 fast        | 503,504 fast   | 503,504 fast             | 503,504 fast            | 200 fast       | 503,504 fast     | 204 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast             | 503 fast            | 503 fast       | 503 fast                 | 503 fast                | 200 fast       | 503 fast         | 204 fast
  frozen          | at once  |    | 503,504 budget | 503,504 budget | 503,504 budget       | 503,504 budget      | 503,504 budget | 503,504 budget           | 503,504 budget          | 200 fast       | 503,504 budget   | 204 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast             | 503 fast            | 503 fast       | 503 fast                 | 503 fast                | 200 fast       | 503 fast         | 204 fast
  slow            | at once  |    | 200 budget     | 200 budget     | 202 budget           | 204 budget          | 202 budget     | 202 budget               | 204 budget              | 200 fast       | 204 budget       | 204 fast
                  | then     | 1  | 200 budget     | 200 budget     | 202 budget           | 204 budget          | 202 budget     | 202 budget               | 204 budget              | 200 fast       | 204 budget       | 204 fast
  resetting       | at once  |    | 503,504 fast   | 503,504 fast   | 503,504 fast         | 503,504 fast        | 503,504 fast   | 503,504 fast             | 503,504 fast            | 200 fast       | 503,504 fast     | 204 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast             | 503 fast            | 503 fast       | 503 fast                 | 503 fast                | 200 fast       | 503 fast         | 204 fast
  back and empty  | then     | 1  | 401 fast       | 401 fast       | 202 fast             | 403 fast            | 401 fast       | 401 fast                 | 403 fast                | 200 fast       | 401 fast         | 204 fast
redis
  absent at start | at once  |    | 503 fast       | 503 fast       | 202 fast             | 503 fast            | 503 fast       | 503 fast                 | 204 fast                | 503 fast       | 503 fast         | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 202 fast             | 503 fast            | 503 fast       | 503 fast                 | 204 fast                | 503 fast       | 503 fast         | 503 fast
  killed          | at once  |    | 503 fast       | 503,504 fast   | 202 fast             | 503,504 fast        | 503 fast       | 503 fast                 | 204 fast                | 503 fast       | 503,504 fast     | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 202 fast             | 503 fast            | 503 fast       | 503 fast                 | 204 fast                | 503 fast       | 503 fast         | 503 fast
  frozen          | at once  |    | 503,504 budget | 503,504 budget | 202 fast             | 503,504 budget      | 503,504 budget | 503,504 budget           | 204 fast                | 503,504 budget | 503,504 budget   | 503,504 budget
                  | then     | 0  | 503 fast       | 503 fast       | 202 fast             | 503 fast            | 503 fast       | 503 fast                 | 204 fast                | 503 fast       | 503 fast         | 503 fast
  slow            | at once  |    | 200 budget     | 200 budget     | 202 fast             | 204 budget          | 202 budget     | 202 budget               | 204 fast                | 200 budget     | 204 budget       | 204 budget
                  | then     | 1  | 200 budget     | 200 budget     | 202 fast             | 204 budget          | 202 budget     | 202 budget               | 204 fast                | 200 budget     | 204 budget       | 204 budget
  resetting       | at once  |    | 503 fast       | 503,504 fast   | 202 fast             | 503,504 fast        | 503 fast       | 503 fast                 | 204 fast                | 503 fast       | 503,504 fast     | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 202 fast             | 503 fast            | 503 fast       | 503 fast                 | 204 fast                | 503 fast       | 503 fast         | 503 fast
  back and empty  | then     | 1  | 401 fast       | 401 fast       | 202 fast             | 204 fast            | 401 fast       | 401 fast                 | 204 fast                | 401 fast       | 401 fast         | 401 fast
kafka
  absent at start | at once  |    | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
                  | then     | 0  | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
  killed          | at once  |    | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
                  | then     | 0  | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
  frozen          | at once  |    | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
                  | then     | 0  | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
  slow            | at once  |    | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
                  | then     | 1  | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
  resetting       | at once  |    | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
                  | then     | 0  | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
  back and empty  | then     | 1  | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
user-svc
  absent at start | at once  |    | 503 fast       | 503 fast       | 503 fast             | 503 fast            | 503 fast       | 503 fast                 | 503 fast                | 200 fast       | 503 fast         | 204 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast             | 503 fast            | 503 fast       | 503 fast                 | 503 fast                | 200 fast       | 503 fast         | 204 fast
  killed          | at once  |    | 503,504 fast   | 503,504 fast   | 503,504 fast         | 503,504 fast        | 503,504 fast   | 503,504 fast             | 503,504 fast            | 200 fast       | 503,504 fast     | 204 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast             | 503 fast            | 503 fast       | 503 fast                 | 503 fast                | 200 fast       | 503 fast         | 204 fast
  frozen          | at once  |    | 503,504 budget | 503,504 budget | 503,504 budget       | 503,504 budget      | 503,504 budget | 503,504 budget           | 503,504 budget          | 200 fast       | 503,504 budget   | 204 fast
                  | then     | 0  | 503 fast       | 503 fast       | 503 fast             | 503 fast            | 503 fast       | 503 fast                 | 503 fast                | 200 fast       | 503 fast         | 204 fast
  slow            | at once  |    | 200 budget     | 200 budget     | 202 budget           | 204 budget          | 202 budget     | 202 budget               | 204 budget              | 200 fast       | 204 budget       | 204 fast
                  | then     | 1  | 200 budget     | 200 budget     | 202 budget           | 204 budget          | 202 budget     | 202 budget               | 204 budget              | 200 fast       | 204 budget       | 204 fast
  resetting       | at once  |    | 503,504 fast   | 503,504 fast   | 503,504 fast         | 503,504 fast        | 503,504 fast   | 503,504 fast             | 503,504 fast            | 200 fast       | 503,504 fast     | 204 fast
                  | then     | 0  | 503,504 fast   | 503,504 fast   | 503,504 fast         | 503,504 fast        | 503,504 fast   | 503,504 fast             | 503,504 fast            | 200 fast       | 503,504 fast     | 204 fast
  back and empty  | then     | 1  | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
session-svc
  absent at start | at once  |    | 503 fast       | 503 fast       | 202 fast             | 503 fast            | 503 fast       | 503 fast                 | 204 fast                | 503 fast       | 503 fast         | 503 fast
                  | then     | 0  | 503 fast       | 503 fast       | 202 fast             | 503 fast            | 503 fast       | 503 fast                 | 204 fast                | 503 fast       | 503 fast         | 503 fast
  killed          | at once  |    | 503,504 fast   | 503,504 fast   | 202 fast             | 503,504 fast        | 503,504 fast   | 503,504 fast             | 204 fast                | 503,504 fast   | 503,504 fast     | 503,504 fast
                  | then     | 0  | 503 fast       | 503 fast       | 202 fast             | 503 fast            | 503 fast       | 503 fast                 | 204 fast                | 503 fast       | 503 fast         | 503 fast
  frozen          | at once  |    | 503,504 budget | 503,504 budget | 202 fast             | 503,504 budget      | 503,504 budget | 503,504 budget           | 204 fast                | 503,504 budget | 503,504 budget   | 503,504 budget
                  | then     | 0  | 503 fast       | 503 fast       | 202 fast             | 503 fast            | 503 fast       | 503 fast                 | 204 fast                | 503 fast       | 503 fast         | 503 fast
  slow            | at once  |    | 200 budget     | 200 budget     | 202 fast             | 204 budget          | 202 budget     | 202 budget               | 204 fast                | 200 budget     | 204 budget       | 204 budget
                  | then     | 1  | 200 budget     | 200 budget     | 202 fast             | 204 budget          | 202 budget     | 202 budget               | 204 fast                | 200 budget     | 204 budget       | 204 budget
  resetting       | at once  |    | 503,504 fast   | 503,504 fast   | 202 fast             | 503,504 fast        | 503,504 fast   | 503,504 fast             | 204 fast                | 503,504 fast   | 503,504 fast     | 503,504 fast
                  | then     | 0  | 503,504 fast   | 503,504 fast   | 202 fast             | 503,504 fast        | 503,504 fast   | 503,504 fast             | 204 fast                | 503,504 fast   | 503,504 fast     | 503,504 fast
  back and empty  | then     | 1  | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
mail
  absent at start | at once  |    | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
                  | then     | 0  | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
  killed          | at once  |    | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
                  | then     | 0  | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
  frozen          | at once  |    | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
                  | then     | 0  | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
  slow            | at once  |    | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
                  | then     | 1  | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
  resetting       | at once  |    | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
                  | then     | 0  | 200 fast       | 200 fast       | 202 fast             | 204 fast            | 202 fast       | 202 fast                 | 204 fast                | 200 fast       | 204 fast         | 204 fast
`
