# GoTrue: a row of auth.users as JSON. Users without an address, such as those with a phone only, are left out.
select(.email != null and .email != "" and .deleted_at == null) | {
  id,
  email,
  emailVerified: (.email_confirmed_at != null),
  createdAt: .created_at,
  passwordHash: (.encrypted_password // ""),
  disabled: (.banned_until != null)
}
