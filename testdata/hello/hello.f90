! Reads and prints a line; fixture of eval/anybin.sh.
program hello
  character(len=64) :: line
  open (10, file='/proc/self/comm')
  read (10, '(a)') line
  print *, trim(line)
end program
