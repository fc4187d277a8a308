/** Import this file before any module that imports `pg`: with this variable, `pg` loads `pg-native`, which is not installed. */

delete process.env.NODE_PG_FORCE_NATIVE
