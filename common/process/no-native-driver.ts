/**
 * Import this file first, before any module that imports `pg`: when it is loaded, `pg` replaces itself by `pg-native`, which is
 * not installed, if this variable is set.
 */

delete process.env.NODE_PG_FORCE_NATIVE
