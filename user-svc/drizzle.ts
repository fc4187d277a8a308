/**
 * Drizzle, loaded as CommonJS. For each file of an ES module, Node.js parses the package's whole export map, 179 KB here:
 * that took 300 ms and left 160 MB of garbage at each start. Remove when a release has the smaller map
 * of drizzle-team/drizzle-orm#5934, which is merged.
 */

import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

export const { and, eq, inArray, sql } = require('drizzle-orm') as typeof import('drizzle-orm')
export const { readMigrationFiles } = require('drizzle-orm/migrator') as typeof import('drizzle-orm/migrator')
export const { drizzle } = require('drizzle-orm/node-postgres') as typeof import('drizzle-orm/node-postgres')
export const { bigint, index, integer, jsonb, pgTable, text, timestamp, uniqueIndex, uuid } =
  require('drizzle-orm/pg-core') as typeof import('drizzle-orm/pg-core')
