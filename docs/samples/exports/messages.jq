# Groups rows into messages of 200, in constant memory.
foreach (inputs, null) as $row ({};
  if $row == null then { full: .rows, rows: [] }
  elif (.rows | length) == 200 then { full: .rows, rows: [$row] }
  else { full: null, rows: (.rows + [$row]) } end;
  .full | select(. != null and . != []) | { users: . })
