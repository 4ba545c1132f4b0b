(* Reads and prints a line; fixture of eval/anybin.sh. *)
let () =
  let c = open_in "/proc/self/comm" in
  print_endline (input_line c)
