module golang

go 1.21
