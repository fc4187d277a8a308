# Kratos: the response of GET /admin/identities?include_credential=password, where `traits.email` is the address.
.[] | .traits.email as $email | {
  id,
  email: $email,
  emailVerified: any(.verifiable_addresses[]?; .value == $email and .verified),
  createdAt: .created_at,
  passwordHash: (.credentials.password.config.hashed_password // ""),
  disabled: (.state == "inactive")
}
