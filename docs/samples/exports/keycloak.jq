# Keycloak: the file of a realm with its users. Users without an address, such as those of service accounts, are left out.
def base64: rtrimstr("=") | rtrimstr("=");
def parameter($name): .additionalParameters[$name][0];
def hash:
  (.credentialData | fromjson) as $data | (.secretData | fromjson) as $secret
  | ($secret.salt | base64) + "$" + ($secret.value | base64)
  | if $data.algorithm == "argon2" then
      ($data | "$argon2\(parameter("type"))$v=19$m=\(parameter("memory")),t=\(.hashIterations),p=\(parameter("parallelism"))$") + .
    elif $data.algorithm == "pbkdf2" then "$pbkdf2-sha1$\($data.hashIterations)$" + .
    else "$\($data.algorithm)$\($data.hashIterations)$" + . end;
.users[] | select(.email != null) | {
  id,
  email,
  emailVerified: (.emailVerified // false),
  createdAt: (.createdTimestamp / 1000 | floor | todate),
  passwordHash: ([.credentials[]? | select(.type == "password") | hash][0] // ""),
  disabled: (.enabled == false)
}
