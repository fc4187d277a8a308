/** The paths of the tables and the migrations, for drizzle-kit. */

import { defineConfig } from 'drizzle-kit'

export default defineConfig({ dialect: 'postgresql', schema: './user-svc/schema.ts', out: './user-svc/migrations' })
