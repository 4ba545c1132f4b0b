package cfg
import ("testing";"syspart/internal/image";"fmt";"sort")
func BenchmarkDbg(b *testing.B){ f,_:=image.Open("/usr/bin/redis-server"); f.Frames(); b.ReportAllocs(); b.ResetTimer(); for b.Loop(){ Build(f)} }
func TestDbgTables(t *testing.T){ f,_:=image.Open("/usr/bin/redis-server"); g,_:=Build(f)
 m:=map[uint64]int{}; 
 for _,tb:=range g.Tables { for _,fn:=range g.Containing(tb.Site){ m[fn.Entry]++}}
 var ks []uint64; for k:=range m {ks=append(ks,k)}; sort.Slice(ks,func(i,j int)bool{return m[ks[i]]>m[ks[j]]})
 for _,k:=range ks[:5] { fn:=g.At(k); fmt.Printf("%#x %s %d tables %d insts %d blocks ranges %x\n",k,fn.Name,m[k],len(fn.Insts),len(fn.Blocks),fn.Ranges) }
}
