# better-auth: a row of "user" as JSON, with the password of its account. Its ids are no UUIDs, so each account gets a new id.
{
  email,
  emailVerified: (.emailVerified // false),
  createdAt,
  passwordHash: (.password // ""),
  disabled: (.banned // false)
}
